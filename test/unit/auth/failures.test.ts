import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressPrefix, Failures, type FailuresOptions } from '../../../src/auth/failures.ts'

function make(options: FailuresOptions = {}): { failures: Failures; pass: (ms: number) => void } {
  let now = 1_000_000
  const failures = new Failures({ perAddress: 10, perAccount: 5, window: 60_000, now: () => now, ...options })
  return { failures, pass: ms => (now += ms) }
}

function fail(failures: Failures, times: number, address: string, account?: string): void {
  for (let n = 0; n < times; n++) failures.failed(address, account)
}

test('a few mistakes cost nothing, then each answer takes longer', () => {
  const { failures } = make({ perAddress: 100, perAccount: 100 })
  const delays: unknown[] = []
  for (let n = 0; n < 10; n++) {
    const verdict = failures.check('192.0.2.1', 'me')
    delays.push(verdict.allowed && verdict.delay)
    failures.failed('192.0.2.1', 'me')
  }
  assert.deepEqual(delays, [0, 0, 0, 250, 500, 1000, 2000, 4000, 4000, 4000])
})

test('an address that guesses one account has to wait; the owner elsewhere does not', () => {
  const { failures } = make()
  fail(failures, 5, '192.0.2.1', 'me')
  assert.equal(failures.check('192.0.2.1', 'me').allowed, false)
  assert.equal(failures.check('192.0.2.1', 'you').allowed, true)
  assert.deepEqual(failures.check('198.51.100.7', 'me'), { allowed: true, delay: 0 })
})

test('an address that guesses many accounts has to wait with all of them', () => {
  const { failures } = make()
  for (let n = 0; n < 10; n++) failures.failed('192.0.2.1', `user${n}`)
  assert.equal(failures.check('192.0.2.1', 'another').allowed, false)
  assert.equal(failures.check('192.0.2.1').allowed, false)
  assert.equal(failures.check('192.0.2.2').allowed, true)
})

test('the wait is over when it was said to be, and not before', () => {
  for (const [times, early] of [
    [5, 0],
    [5, 59_000],
    [9, 30_000],
    [40, 0],
  ] as const) {
    const { failures, pass } = make({ perAddress: Number.POSITIVE_INFINITY })
    failures.failed('192.0.2.1', 'me')
    pass(early)
    fail(failures, times - 1, '192.0.2.1', 'me')
    const verdict = failures.check('192.0.2.1', 'me')
    assert.ok(!verdict.allowed && verdict.retryAfter > 0 && verdict.retryAfter <= 120_000)
    pass(verdict.retryAfter - 2)
    assert.equal(failures.check('192.0.2.1', 'me').allowed, false, `${times} failures: still waiting`)
    pass(2)
    assert.equal(failures.check('192.0.2.1', 'me').allowed, true, `${times} failures: over`)
  }
})

test('the window slides: failures on both sides of its edge count together', () => {
  const { failures, pass } = make()
  failures.failed('192.0.2.1', 'me')
  pass(59_900)
  fail(failures, 3, '192.0.2.1', 'me')
  pass(200)
  fail(failures, 2, '192.0.2.1', 'me')
  assert.equal(failures.check('192.0.2.1', 'me').allowed, false)
  pass(120_000)
  assert.deepEqual(failures.check('192.0.2.1', 'me'), { allowed: true, delay: 0 })
})

test('success forgives the account, not the address', () => {
  const { failures } = make()
  fail(failures, 4, '192.0.2.1', 'me')
  failures.succeeded('192.0.2.1', 'me')
  assert.deepEqual(failures.check('192.0.2.1', 'me'), { allowed: true, delay: 0 })
  fail(failures, 6, '192.0.2.1')
  failures.succeeded('192.0.2.1', 'me')
  assert.equal(failures.check('192.0.2.1', 'me').allowed, false)
})

test('limits of Infinity never make anybody wait', () => {
  const { failures } = make({ perAddress: Number.POSITIVE_INFINITY, perAccount: Number.POSITIVE_INFINITY })
  fail(failures, 10_000, '192.0.2.1', 'me')
  assert.deepEqual(failures.check('192.0.2.1', 'me'), { allowed: true, delay: 0 })
  assert.deepEqual(failures.check('192.0.2.1'), { allowed: true, delay: 0 }, 'where no account is known either')
})

test('memory is bounded however many addresses and names come', () => {
  const { failures } = make({ max: 100 })
  for (let n = 0; n < 5000; n++) failures.failed(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, `user${n}`)
  assert.ok(failures.size <= 300, `${failures.size} entries`)
  fail(failures, 5, '192.0.2.1', 'me')
  for (let n = 0; n < 49; n++) failures.failed(`10.0.0.${n}`, `user${n}`)
  assert.equal(failures.check('192.0.2.1', 'me').allowed, false, 'who guesses is not forgotten at once')
  for (let n = 0; n < 1000; n++) failures.check(`10.9.${n >> 8}.${n & 255}`, 'x')
  assert.equal(failures.check('192.0.2.1', 'me').allowed, false, 'asking alone displaces nobody')
})

test('addresses count by the part that one site has', () => {
  const cases: [string, string][] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::1', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['', ''],
  ]
  for (const [address, prefix] of cases) assert.equal(addressPrefix(address), prefix, address)
})

test('an account that is guessed at from many addresses is known as such, for a time, and others are not', () => {
  const { failures, pass } = make({ total: 6 })
  for (let n = 0; n < 6; n++) {
    assert.equal(failures.attacked('me'), 0)
    failures.failed(`192.0.2.${n}`, 'me')
  }
  const wait = failures.attacked('me')
  assert.ok(wait > 0 && wait <= 120_000)
  assert.equal(failures.attacked('you'), 0)
  assert.equal(failures.check('192.0.2.1', 'me').allowed, true, 'whom that keeps out is for others to say')
  failures.succeeded('192.0.2.1', 'me')
  assert.ok(failures.attacked('me') > 0, 'one that comes in does not end it')
  pass(wait)
  assert.equal(failures.attacked('me'), 0)
})
