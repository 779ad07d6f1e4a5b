import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Account } from '../../../../src/core/account.ts'
import type { Notice } from '../../../../src/modules/push/notice.ts'
import type { Registration } from '../../../../src/modules/push/registration.ts'
import type { Target } from '../../../../src/modules/push/target.ts'
import { MAX_WAITING, Watch } from '../../../../src/modules/push/watch.ts'

const notice = (id: string): Notice => ({ kind: 'message', id, sender: 'romeo@example.org', body: '' })
const settings = { ackTimeout: 60_000, notifyAbsent: false }

function watching(told = '') {
  const watch = new Watch({ sessions: new Map() } as unknown as Account, settings)
  const heard: (string | undefined)[] = []
  const registration: Registration = { resource: 'phone', at: 0, told }
  const target = { registration, tell: ({ id }: Notice) => heard.push(id), stop() {} } as unknown as Target
  watch.targets.set('a', target)
  return { watch, target, heard }
}

test('at the bound the oldest is no longer counted; each was told all the same', () => {
  const { watch, heard } = watching()
  for (let n = 0; n < MAX_WAITING + 10; n++) watch.delivered(String(n), notice(String(n)), [])
  assert.equal(watch.waiting, MAX_WAITING)
  assert.equal(heard.length, MAX_WAITING + 10)
  watch.stop()
})

test('what was told before is counted and not told again', () => {
  const { watch, heard } = watching('2')
  for (const id of ['1', '2', '3']) watch.remember(id, notice(id))
  watch.lost()
  assert.deepEqual(heard, ['3'])
  assert.equal(watch.waiting, 3)
  watch.stop()
})

test('in place of what was delivered meanwhile, the newest that still waits is told', () => {
  const { watch, target } = watching()
  for (const id of ['1', '2', '3']) watch.delivered(id, notice(id), [])
  watch.acknowledged('3')
  assert.equal(watch.outstanding(target, notice('3'))?.id, '2')
  watch.acknowledged('1')
  watch.acknowledged('2')
  assert.equal(watch.outstanding(target, notice('3')), undefined)
  watch.stop()
})
