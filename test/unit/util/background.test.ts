import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Background } from '../../../src/util/background.ts'
import { settled } from '../../support/waiting.ts'

test('one after another for each key, and no more than so many wait', async () => {
  const failures: string[] = []
  const background = new Background(2, (_error, key) => failures.push(key))
  const done: string[] = []
  const gate = Promise.withResolvers<void>()
  const piece = (name: string) => async () => {
    await gate.promise
    done.push(name)
    if (name === 'a1') throw new Error('a1 fails')
  }
  assert.deepEqual(
    [background.add('a', piece('a1')), background.add('a', piece('a2')), background.add('a', piece('a3'))],
    [true, true, false],
  )
  assert.equal(background.add('b', piece('b1')), true, 'that is no concern of others')
  gate.resolve()
  await settled()
  assert.deepEqual(done, ['a1', 'b1', 'a2'])
  assert.deepEqual(failures, ['a'])
  assert.equal(background.add('a', piece('a4')), true)
  await settled()
  assert.equal(done.at(-1), 'a4')
})
