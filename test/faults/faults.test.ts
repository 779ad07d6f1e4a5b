/** A short run of every scenario: part of `npm test`. The long one is `npm run test:faults`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SEED } from '../support/chance.ts'
import { diagnosis, header, row } from './report.ts'
import { scenarios } from './scenarios.ts'
import { DEFAULTS, trial } from './trial.ts'

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
