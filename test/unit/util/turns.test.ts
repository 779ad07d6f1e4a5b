import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Turns } from '../../../src/util/turns.ts'

test('work on a key waits for that before it, failed or not; on another key it does not', async () => {
  const turns = new Turns()
  const gate = Promise.withResolvers<void>()
  const done: string[] = []
  const first = turns.run('a', async () => {
    await gate.promise
    done.push('first')
    throw new Error('broken')
  })
  const second = turns.run('a', async () => {
    done.push('second')
    return 2
  })
  await turns.run('b', async () => void done.push('other'))
  assert.deepEqual(done, ['other'])
  gate.resolve()
  await assert.rejects(first, /broken/)
  assert.equal(await second, 2)
  assert.deepEqual(done, ['other', 'first', 'second'])
})
