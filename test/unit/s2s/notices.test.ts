import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Notices } from '../../../src/s2s/notices.ts'

test('the same is said of a domain once in an hour', () => {
  let now = 0
  const notices = new Notices(() => now)
  assert.ok(notices.isNew('a.example', 'no certificate'))
  assert.ok(!notices.isNew('a.example', 'no certificate'))
  assert.ok(notices.isNew('a.example', 'another thing'))
  assert.ok(notices.isNew('b.example', 'no certificate'))
  now = 3_600_000
  assert.ok(notices.isNew('a.example', 'no certificate'))
})

test('of what was said so much is remembered', () => {
  const notices = new Notices(() => 0)
  for (let i = 0; i < 3000; i++) assert.ok(notices.isNew(`d${i}.example`, 'x'))
  assert.ok(!notices.isNew('d2999.example', 'x'))
  assert.ok(notices.isNew('d0.example', 'x'))
})
