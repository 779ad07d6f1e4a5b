import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SEED } from '../support/chance.ts'
import { diagnosis, header, row } from './report.ts'
import type { Scenario } from './scenarios.ts'
import { DEFAULTS, trial } from './trial.ts'

/** A test of these scenarios, each run for as long as `npm test` has time. The long run is `npm run test:faults`. */
export function shortly(scenarios: readonly Scenario[]): void {
  test(`the promise is kept, whatever happens (seed ${SEED})`, async t => {
    t.diagnostic(header())
    for (const scenario of scenarios) {
      await t.test(scenario.about, async sub => {
        const result = await trial(scenario, { ...DEFAULTS, seed: SEED })
        sub.diagnostic(row(result))
        if (result.skipped) return sub.skip(result.skipped)
        assert.equal(result.failures.length, 0, `seed ${SEED}\n${diagnosis(result)}`)
      })
    }
  })
}
