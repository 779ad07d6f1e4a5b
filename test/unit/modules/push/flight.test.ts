import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Flight } from '../../../../src/modules/push/flight.ts'

test('at the bound no more are begun, until one is answered, well or badly', async () => {
  const flight = new Flight(2)
  const [one, two] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
  const first = flight.begin(() => one.promise)
  const second = flight.begin(() => two.promise)
  assert.equal(
    flight.begin(() => assert.fail('not asked')),
    'busy',
  )
  one.resolve('done')
  assert.equal(await first, 'done')
  const third = flight.begin(async () => 'third')
  assert.equal(await third, 'third')
  two.reject(new Error('broken'))
  await assert.rejects(async () => second, /broken/)
  assert.equal(await flight.begin(async () => 'fourth'), 'fourth')
})
