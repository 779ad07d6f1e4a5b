import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDuration } from '../../../src/util/duration.ts'

test('durations are read in every unit and in sums', () => {
  const cases: [string, number][] = [
    ['0', 0],
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['5 min', 300_000],
    ['1.5h', 5_400_000],
    ['1h30m', 5_400_000],
    ['1h 30m', 5_400_000],
    ['2 days', 172_800_000],
    ['1W', 604_800_000],
    ['  7d ', 604_800_000],
  ]
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text)
})

test('what is no duration is undefined', () => {
  for (const text of ['', '5', '5x', 'm', '-5m', '5m,', '1h-30m', '.5m', 'infinity', '5 m 3', `${'9'.repeat(20)}w`]) {
    assert.equal(parseDuration(text), undefined, text)
  }
  assert.equal(parseDuration(`${'1s '.repeat(1000)}`), undefined, 'a long text is refused, not computed')
})
