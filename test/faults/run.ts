/**
 * The long proof of the promise: `npm run test:faults -- [options]`.
 *
 *   --seed N           what chance draws (default: the clock; printed)
 *   --scenario A,B     only these (default: all)
 *   --seconds N        of faults in each scenario (default 20)
 *   --senders, --recipients, --plain, --rate N
 *   --server SCRIPT    another server in place of hermod: a script with start, stop, pid and env (support/serverprocess.ts)
 *   --archive on|off   with an archive in all, or in none (default: in half of them)
 *   --keep             keep the data folders
 */
import { parseArgs } from 'node:util'
import { federated } from './federated.ts'
import { diagnosis, header, row } from './report.ts'
import { scenarios } from './scenarios.ts'
import { DEFAULTS, trial } from './trial.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    scenario: { type: 'string' },
    seconds: { type: 'string', default: '20' },
    senders: { type: 'string', default: String(DEFAULTS.senders) },
    recipients: { type: 'string', default: String(DEFAULTS.recipients) },
    plain: { type: 'string', default: String(DEFAULTS.plain) },
    rate: { type: 'string', default: String(DEFAULTS.rate) },
    server: { type: 'string' },
    archive: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
})

// Another server has no peers here.
const all = values.server ? scenarios : [...scenarios, ...federated]
const wanted = values.scenario?.split(',')
const unknown = wanted?.filter(name => !all.some(s => s.name === name)) ?? []
if (unknown.length > 0) {
  console.error(`no scenario ${unknown.join(', ')}; there are: ${all.map(s => s.name).join(' ')}`)
  process.exit(2)
}

const options = {
  seed: Number(values.seed),
  seconds: Number(values.seconds),
  senders: Number(values.senders),
  recipients: Number(values.recipients),
  plain: Number(values.plain),
  rate: Number(values.rate),
  keep: values.keep,
  ...(values.archive === undefined ? {} : { archive: values.archive === 'on' }),
  ...(values.server ? { script: values.server } : {}),
}

// An interrupted run ends through 'exit', where the server is killed and the small disk unmounted.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

console.log(`seed ${options.seed}, ${options.seconds} s of faults each`)
console.log(header())
let failed = 0
for (const scenario of all.filter(s => !wanted || wanted.includes(s.name))) {
  const result = await trial(scenario, options)
  console.log(row(result))
  if (result.failures.length === 0) continue
  failed++
  console.log(`\n${diagnosis(result)}\n`)
}
console.log(failed === 0 ? 'the promise was kept' : `the promise was broken in ${failed} scenarios`)
process.exitCode = failed === 0 ? 0 : 1
