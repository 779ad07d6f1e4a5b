/** One scenario against one server, from an empty folder to the row of the table. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ServerProcess } from '../support/launched.ts'
import { hermodProcess, scriptedServer } from '../support/serverprocess.ts'
import { smallDisk } from './disk.ts'
import type { Counts, Ledger } from './ledger.ts'
import type { Scenario } from './scenarios.ts'
import { World } from './world.ts'

interface TrialOptions {
  seed: number
  /** Messages are archived, or gone once delivered; undefined: the seed decides. */
  archive?: boolean
  seconds: number
  senders: number
  recipients: number
  plain: number
  rate: number
  /** A server's script (see support/serverprocess.ts) in place of hermod; it gets the folder for its data as BENCH_DIR. */
  script?: string
  /** Keep the folder when green, too. */
  keep?: boolean
}

export interface Result {
  scenario: Scenario
  /** Why it was not run. */
  skipped?: string
  counts: Counts
  resumed: number
  refused: number
  seconds: number
  /** What is wrong, in words; empty when the promise was kept. */
  failures: string[]
  ledger?: Ledger
  log?: string
}

export const DEFAULTS: TrialOptions = { seed: 1, seconds: 1.5, senders: 6, recipients: 8, plain: 3, rate: 800 }

export async function trial(scenario: Scenario, options: TrialOptions): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), `hermod-faults-${scenario.name}-`))
  const started = performance.now()
  const data = join(folder, 'data')
  mkdirSync(data)
  const disk = scenario.smallDisk ? smallDisk(data) : undefined
  const none: Result = { scenario, counts: emptyCounts(), resumed: 0, refused: 0, seconds: 0, failures: [] }
  if (typeof disk === 'string') {
    rmSync(folder, { recursive: true })
    return { ...none, skipped: disk }
  }
  const server = await serverFor(scenario, options, folder, data)
  const { seed, seconds, senders, recipients, plain, rate } = options
  const { resumeTimeout, restartAtEnd = false, namedSenders = false, lateEnable = false } = scenario
  const world = new World({
    server,
    seed,
    seconds,
    senders,
    recipients,
    plain,
    rate,
    resumeTimeout,
    disk,
    restartAtEnd,
    namedSenders,
    lateEnable,
  })
  const failures: string[] = []
  try {
    await world.begin()
    await scenario.run(world)
    await world.reckon()
  } catch (error) {
    failures.push(error instanceof Error ? error.message : String(error))
  }
  disk?.free()
  try {
    await world.end()
  } catch (error) {
    failures.push(error instanceof Error ? error.message : String(error))
  }
  disk?.unmount()
  const result: Result = {
    ...{ scenario, failures, counts: world.ledger.counts(), ledger: world.ledger, log: server.log },
    resumed: world.people.reduce((sum, p) => sum + p.resumed, 0),
    refused: world.people.reduce((sum, p) => sum + p.refused, 0),
    seconds: (performance.now() - started) / 1000,
  }
  failures.push(...breaches(result, server))
  if (failures.length === 0 && !options.keep) rmSync(folder, { recursive: true })
  return result
}

async function serverFor(
  scenario: Scenario,
  options: TrialOptions,
  folder: string,
  data: string,
): Promise<ServerProcess> {
  if (options.script) return scriptedServer(options.script, { BENCH_DIR: data })
  // With an archive in one half of the scenarios and without in the other; the next seed has it the other way round.
  const archive = options.archive ?? (options.seed + scenario.name.length) % 2 === 0
  const env = { HERMOD_MAM: archive ? '1' : '0' }
  return hermodProcess({ folder, data, resumeTimeout: `${scenario.resumeTimeout}ms`, env })
}

function breaches({ scenario, counts, refused, resumed, ledger }: Result, server: ServerProcess): string[] {
  const wrong: [number, string][] = [
    [counts.lost, 'acknowledged and never delivered'],
    [counts.lostRepeats, 'acknowledged and never delivered, of those that look the same'],
    [counts.falseBounces, 'delivered, yet an error went to the sender'],
    [counts.disorder, 'out of order'],
    [counts.neverAcked, 'never acknowledged'],
    [counts.avoidable, 'avoidable duplicates'],
    [scenario.mayRefuse ? 0 : counts.refused, 'refused, without a reason'],
    [scenario.mustResume ? refused : 0, 'resumptions refused'],
    [scenario.mustResume && resumed === 0 ? 1 : 0, 'scenario in which nobody resumed'],
    [counts.delivered === 0 ? 1 : 0, 'scenario in which nothing was delivered'],
  ]
  const found = wrong.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`)
  const changed = [...(ledger?.messages.values() ?? [])].filter(m => ledger?.faults(m).includes('other stanza-id'))
  if (changed.length > 0) found.push(`${changed.length} duplicates with another stanza-id`)
  if (ledger && ledger.violations.length > 0) found.push(`${ledger.violations.length} breaches of the protocol`)
  if (server.died) found.push(server.died)
  return found
}

function emptyCounts(): Counts {
  return {
    ...{ messages: 0, acked: 0, delivered: 0, refused: 0, lost: 0, falseBounces: 0, disorder: 0, neverAcked: 0 },
    ...{ avoidable: 0, unavoidable: 0, inCrash: 0, lostRepeats: 0 },
  }
}
