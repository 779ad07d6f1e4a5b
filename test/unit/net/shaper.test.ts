import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Shaper } from '../../../src/net/shaper.ts'

const NONE = {
  rate: Number.POSITIVE_INFINITY,
  burst_size: Number.POSITIVE_INFINITY,
  stanza_rate: Number.POSITIVE_INFINITY,
  stanza_burst: Number.POSITIVE_INFINITY,
}

function clock(start = 12_345.678) {
  let time = start
  return { now: () => time, pass: (ms: number) => (time += ms) }
}

test('the burst is free, what is over it is paid for at the rate', () => {
  const time = clock()
  const shaper = new Shaper({ ...NONE, rate: 1000, burst_size: 5000 }, time.now)
  assert.equal(shaper.spend(5000, 100), 0)
  assert.equal(shaper.spend(1, 0), 1)
  assert.equal(shaper.spend(999, 0), 1000)
  time.pass(1000)
  assert.equal(shaper.spend(0, 0), 0)
  assert.equal(shaper.spend(250, 0), 250)
})

test('an unused bucket fills up to the burst and not above', () => {
  const time = clock()
  const shaper = new Shaper({ ...NONE, rate: 1000, burst_size: 5000 }, time.now)
  assert.equal(shaper.spend(5000, 0), 0)
  time.pass(2000)
  assert.equal(shaper.spend(2000, 0), 0)
  assert.equal(shaper.spend(10, 0), 10)
  time.pass(86_400_000)
  assert.equal(shaper.spend(5000, 0), 0)
  assert.equal(shaper.spend(10, 0), 10)
})

test('stanzas have a bucket of their own, and the longer pause counts', () => {
  const time = clock()
  const shaper = new Shaper({ rate: 1000, burst_size: 1000, stanza_rate: 10, stanza_burst: 5 }, time.now)
  assert.equal(shaper.spend(100, 5), 0)
  assert.equal(shaper.spend(100, 1), 100)
  assert.equal(shaper.spend(2000, 0), 1200)
  assert.equal(shaper.spend(0, 20), 2100)
})

test('who pauses as told gets the rate, whatever the pieces', () => {
  for (const piece of [1, 700, 65_536]) {
    const time = clock()
    const shaper = new Shaper({ ...NONE, rate: 10_000, burst_size: 20_000 }, time.now)
    const start = time.now()
    let sent = 0
    while (sent < 1_000_000) {
      sent += piece
      time.pass(shaper.spend(piece, 0))
    }
    const seconds = (time.now() - start) / 1000
    // Pauses are whole milliseconds, so a debt may be paid up to 1 ms late, which the next one gets back.
    assert.ok(sent <= 20_000 + 10_000 * seconds + 1, `${piece}: ${sent} in ${seconds}`)
    assert.ok(sent >= 20_000 + 10_000 * (seconds - 0.001) - 1, `${piece}: ${sent} in ${seconds}`)
  }
})

test('without limits nothing is asked of the clock', () => {
  const shaper = new Shaper(NONE, () => assert.fail('the clock was read'))
  assert.equal(shaper.spend(1e12, 1e9), 0)
})

test('an unlimited burst never pauses, and a pause is never more than a timer takes', () => {
  const time = clock()
  const burst = new Shaper({ ...NONE, rate: 1 }, time.now)
  assert.equal(burst.spend(1e15, 0), 0)
  const slow = new Shaper({ ...NONE, rate: 1, burst_size: 1 }, time.now)
  assert.equal(slow.spend(1e15, 0), 2 ** 31 - 1)
})

test('a rate of nothing is refused', () => {
  for (const rate of [0, -1, Number.NaN]) {
    assert.throws(() => new Shaper({ ...NONE, rate }), RangeError)
    assert.throws(() => new Shaper({ ...NONE, stanza_rate: rate }), RangeError)
  }
})

test('the clock of its own goes forward', () => {
  const shaper = new Shaper({ ...NONE, rate: 1000, burst_size: 1 })
  const pause = shaper.spend(1001, 0)
  assert.ok(pause > 990 && pause <= 1000, String(pause))
})
