/** Runs all tests, quick ones first: `npm test`, or `npm test -- unit protocol` for some of them. */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import path from 'node:path'
import { SEED } from '../test/support/chance.ts'

const ROOT = path.resolve(import.meta.dirname, '..')

/** In the order in which they run. */
const SUITES: Record<string, string[]> = {
  architecture: ['test/architecture.test.ts'],
  unit: ['test/unit/**/*.test.ts'],
  storage: ['test/storage/**/*.test.ts'],
  protocol: ['test/protocol/**/*.test.ts'],
  packages: ['packages/*/test/**/*.test.ts'],
  fuzz: ['test/fuzz/**/*.test.ts'],
  e2e: ['test/e2e/**/*.test.ts'],
  faults: ['test/faults/**/*.test.ts'],
}

/** Suites whose files run one by one: they judge by milliseconds what was known when a server was killed. */
const ONE_BY_ONE = new Set(['faults'])

const wanted = process.argv.slice(2)
const unknown = wanted.filter(name => !(name in SUITES))
if (unknown.length > 0) {
  console.error(`there is no suite ${unknown.join(', ')}; there are: ${Object.keys(SUITES).join(', ')}`)
  process.exit(2)
}

console.log(`seed ${SEED} (HERMOD_TEST_SEED=N takes another)`)
let failed = 0
for (const [name, patterns] of Object.entries(SUITES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  const files = globSync(patterns, { cwd: ROOT }).sort()
  if (files.length === 0) continue
  console.log(`\n== ${name}: ${files.length} files`)
  const reporter = 'spec'
  const run = spawnSync(
    process.execPath,
    // Packages stand on hermod's source, not on what was built of it.
    [
      '--conditions=hermod-source',
      '--test',
      `--test-concurrency=${ONE_BY_ONE.has(name) ? 1 : 2}`,
      '--test-timeout=300000',
      `--test-reporter=${reporter}`,
      ...files,
    ],
    { cwd: ROOT, stdio: 'inherit' },
  )
  if (run.status !== 0) failed++
}
console.log(failed === 0 ? '\nall suites passed' : `\n${failed} suite(s) failed`)
process.exitCode = failed === 0 ? 0 : 1
