import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judge, type Outcome, readOutcomes, toRunAgain } from '../interop/judge.ts'

const EXPECTED = {
  failing: { 'RoomTest.enter': 'there are no rooms', 'ChatTest.slow (modular)': 'its own fault' },
  impossible: { ThingTest: 'there are no things' },
  notRun: {},
}
const outcome = (outcome: Outcome['outcome'], test: string): Outcome => ({ outcome, test, took: 1, reason: 'so' })
const AS_LISTED = [
  outcome('passed', 'ChatTest.say (tcp)'),
  outcome('passed', 'ChatTest.slow (tcp)'),
  outcome('failed', 'ChatTest.slow (modular)'),
  outcome('failed', 'RoomTest.enter'),
  outcome('impossible', 'ThingTest'),
]

test('what goes as listed is no failure', () => {
  const { passed, wrong, excused } = judge(AS_LISTED, [], EXPECTED)
  assert.equal(passed, 2)
  assert.deepEqual(wrong, [])
  assert.equal(excused.length, 3)
  assert.deepEqual(toRunAgain(AS_LISTED, EXPECTED), [])
})

test('an unlisted failure fails the suite, and is run again alone first', () => {
  const outcomes = [...AS_LISTED, outcome('failed', 'PubSubTest.publish (tcp)')]
  assert.deepEqual(toRunAgain(outcomes, EXPECTED), ['PubSubTest.publish'])
  for (const again of [[], [outcome('failed', 'PubSubTest.publish (tcp)')]]) {
    assert.deepEqual(judge(outcomes, again, EXPECTED).wrong, ['PubSubTest.publish (tcp) failed: so'])
  }
  const alone = judge(outcomes, [outcome('passed', 'PubSubTest.publish (tcp)')], EXPECTED)
  assert.deepEqual([alone.passed, alone.wrong], [3, []])
})

test('what is suddenly impossible fails the suite', () => {
  const { wrong } = judge([...AS_LISTED, outcome('impossible', 'MamTest')], [], EXPECTED)
  assert.deepEqual(wrong, ['MamTest is not possible: so'])
})

test('a listed test that passes, or is not there, fails the suite', () => {
  const passes = AS_LISTED.map(one => (one.test === 'RoomTest.enter' ? outcome('passed', one.test) : one))
  assert.deepEqual(judge(passes, [], EXPECTED).wrong, ['RoomTest.enter passes, and is listed: there are no rooms'])
  const missing = AS_LISTED.filter(one => !['RoomTest.enter', 'ThingTest'].includes(one.test))
  assert.deepEqual(judge(missing, [], EXPECTED).wrong, [
    'RoomTest.enter is listed, and did not run',
    'ThingTest is listed, and did not prove impossible',
  ])
})

test('a run without tests is no success, and a garbled result is an error', () => {
  const nothing = { failing: {}, impossible: {}, notRun: {} }
  assert.deepEqual(judge([], [], nothing).wrong, ['no test passed'])
  assert.deepEqual(readOutcomes('passed\tA.b (tcp)\t12\t\n'), [
    { outcome: 'passed', test: 'A.b (tcp)', took: 12, reason: '' },
  ])
  assert.throws(() => readOutcomes('Exception in thread "main"\n'))
})
