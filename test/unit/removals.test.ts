import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from '../../src/core/log.ts'
import { Removals } from '../../src/core/removals.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { eventually } from '../support/waiting.ts'

test('who removes an account is told that a request of it hangs; nothing is deleted, and the name nobody’s, until it ends', async () => {
  const begun = openMemoryStore().table<true>('localhost', { name: 'removals_begun' })
  const forgotten: string[] = []
  const forget = async (user: string) => void forgotten.push(user)
  const removals = new Removals(begun, createLog({ level: 'silent', format: 'json' }), async () => true, forget, 10)
  const hanging = Promise.withResolvers<void>()
  void removals.during('alice', hanging.promise)
  void removals.during('alice', Promise.reject(new Error('failed'))).catch(() => {})
  await assert.rejects(removals.run('alice'), /a request of alice hangs/)
  assert.equal(removals.has('alice'), true)
  assert.deepEqual(forgotten, [])
  assert.deepEqual(await begun.keys(['begun']), [['alice']])
  assert.equal(await removals.run('bob'), true)
  hanging.resolve()
  await eventually(() => !removals.has('alice'), 'the removal ends')
  assert.deepEqual(forgotten, ['bob', 'alice'])
})
