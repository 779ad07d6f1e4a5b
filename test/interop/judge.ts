import type { Expectations } from './expectations.ts'

export interface Outcome {
  readonly outcome: 'passed' | 'failed' | 'impossible'
  /** `Class.method`, `Class.method (connection)`, or of impossible ones `Class`. */
  readonly test: string
  /** Ms. */
  readonly took: number
  readonly reason: string
}

export interface Verdict {
  readonly passed: number
  /** What is not as it is expected, one sentence each. */
  readonly wrong: readonly string[]
  /** Listed, and as listed. */
  readonly excused: readonly string[]
}

/** What `Runner.java` wrote: four columns between tabs. Throws on any other line. */
export function readOutcomes(text: string): Outcome[] {
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const [outcome, test, took, reason] = line.split('\t')
      if (outcome !== 'passed' && outcome !== 'failed' && outcome !== 'impossible') {
        throw new Error(`this is no outcome of a test: ${line}`)
      }
      return { outcome, test: test!, took: Number(took), reason: reason! }
    })
}

/** `again` are outcomes of failed tests that were run once more, each alone: what passes so was disturbed by others. */
export function judge(outcomes: readonly Outcome[], again: readonly Outcome[], expected: Expectations): Verdict {
  const wrong: string[] = []
  const excused: string[] = []
  const seen = new Set<string>()
  let passed = 0
  for (const { outcome, test, reason } of outcomes) {
    const listed = outcome === 'impossible' ? expected.impossible[key(test, expected.impossible)] : undefined
    const failing = key(test, expected.failing)
    const known = outcome === 'impossible' ? listed : expected.failing[failing]
    if (outcome === 'impossible') seen.add(key(test, expected.impossible))
    else if (failing !== '') seen.add(failing)
    if (outcome === 'passed' && known !== undefined) wrong.push(`${test} passes, and is listed: ${known}`)
    else if (outcome === 'passed' || (known === undefined && passesAlone(test, again))) passed++
    else if (known === undefined)
      wrong.push(`${test} ${outcome === 'failed' ? 'failed' : 'is not possible'}: ${reason}`)
    else excused.push(`${test}: ${known}`)
  }
  for (const name of [...Object.keys(expected.failing), ...Object.keys(expected.impossible)]) {
    if (!seen.has(name))
      wrong.push(`${name} is listed, and did not ${name in expected.failing ? 'run' : 'prove impossible'}`)
  }
  if (passed === 0) wrong.push('no test passed')
  return { passed, wrong, excused }
}

/** Tests that failed though nothing excuses them, as the runner takes them: to be run again. */
export function toRunAgain(outcomes: readonly Outcome[], expected: Expectations): string[] {
  const failed = outcomes.filter(({ outcome, test }) => outcome === 'failed' && key(test, expected.failing) === '')
  return [...new Set(failed.map(({ test }) => method(test)))]
}

function passesAlone(test: string, again: readonly Outcome[]): boolean {
  const tries = again.filter(one => one.test === test)
  return tries.length > 0 && tries.every(one => one.outcome === 'passed')
}

/** Under which name a test is listed: with its connection or without; empty where it is not. */
function key(test: string, list: Readonly<Record<string, string>>): string {
  return [test, method(test)].find(name => Object.hasOwn(list, name)) ?? ''
}

function method(test: string): string {
  return test.replace(/ \(.*\)$/, '')
}
