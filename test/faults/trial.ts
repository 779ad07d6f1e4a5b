/** One scenario against one server, from an empty folder to the row of the table. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ServerProcess } from '../support/launched.ts'
import { type Make, missing, PeerWorld } from '../support/peers/world.ts'
import { hermodProcess, scriptedServer } from '../support/serverprocess.ts'
import { smallDisk } from './disk.ts'
import type { Counts, Ledger } from './ledger.ts'
import type { Scenario } from './scenarios.ts'
import { World, type WorldOptions } from './world.ts'

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
  /** Acknowledged by hermod, taken over by a server of another make, and lost there. */
  theirs: number
  /** What is wrong, in words; empty when the promise was kept. */
  failures: string[]
  ledger?: Ledger
  log?: string
}

/** Senders beside the others who always say the same. */
const REPEATERS = 2

export const DEFAULTS: TrialOptions = { seed: 1, seconds: 1.5, senders: 6, recipients: 8, plain: 3, rate: 800 }

export async function trial(scenario: Scenario, options: TrialOptions): Promise<Result> {
  const { peer, smallDisk: small = false } = scenario
  const none: Result = { scenario, counts: emptyCounts(), resumed: 0, refused: 0, theirs: 0, seconds: 0, failures: [] }
  const why = peer === undefined ? false : missing(peer)
  if (why) return { ...none, skipped: why }
  const folder = mkdtempSync(join(tmpdir(), `hermod-faults-${scenario.name}-`))
  const started = performance.now()
  const data = join(folder, 'data')
  mkdirSync(data)
  const disk = small ? smallDisk(data) : undefined
  if (typeof disk === 'string') {
    rmSync(folder, { recursive: true })
    return { ...none, skipped: disk }
  }
  const ends: (() => void | Promise<void>)[] = []
  const places =
    peer === undefined
      ? alone(await serverFor(scenario, options, folder, data))
      : await federation(scenario, peer, options, await PeerWorld.start({ after: end => ends.unshift(end) }, folder))
  const { seed, seconds, senders, recipients, plain, rate } = options
  const { resumeTimeout, restartAtEnd = false, namedSenders = false, lateEnable = false } = scenario
  const world = new World({
    ...places,
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
  let theirs = 0
  try {
    await world.begin()
    await scenario.run(world)
    await world.reckon()
    if (scenario.peerFails) theirs = await world.lostElsewhere()
  } catch (error) {
    failures.push(error instanceof Error ? error.message : String(error))
  }
  disk?.free()
  try {
    await world.end()
  } catch (error) {
    failures.push(error instanceof Error ? error.message : String(error))
  }
  for (const end of ends) await end()
  disk?.unmount()
  const result: Result = {
    ...{ scenario, failures, counts: world.ledger.counts(), ledger: world.ledger },
    log: world.servers.map(server => server.log).join(' '),
    resumed: world.people.reduce((sum, p) => sum + p.resumed, 0),
    refused: world.people.reduce((sum, p) => sum + p.refused, 0),
    theirs,
    seconds: (performance.now() - started) / 1000,
  }
  failures.push(...breaches(result, world.hopeless()))
  if (failures.length === 0 && !options.keep) rmSync(folder, { recursive: true })
  return result
}

type Places = Pick<WorldOptions, 'servers' | 'homes' | 'cables' | 'late' | 'repeaters'>

function alone(server: ServerProcess): Places {
  return { servers: [server], homes: { senders: [server], recipients: [server] }, repeaters: REPEATERS }
}

/** A hermod and the other, each reached by a cable. */
async function federation(scenario: Scenario, peer: Make, options: TrialOptions, world: PeerWorld): Promise<Places> {
  const ours = {
    ...{ cable: true, strict: true, resumeTimeout: `${scenario.resumeTimeout}ms` },
    env: { HERMOD_MAM: archives(scenario, options) ? '1' : '0', HERMOD_S2S_RETRY: '300ms' },
  }
  const hermod = await world.lay('hermod', 'verona.example', ours)
  const theirs = peer === 'hermod' ? ours : { cable: true, strict: true, managed: !scenario.unmanaged }
  const other = await world.lay(peer, 'mantua.example', theirs)
  const servers = [hermod, other]
  const cables = [...world.cables.values()]
  // What comes from another make is its own to keep; and of messages that look the same nobody can tell which it lost.
  const late = peer === 'ejabberd' ? [other] : []
  if (peer !== 'hermod')
    return { servers, cables, late, homes: { senders: [hermod], recipients: [other] }, repeaters: 0 }
  return { servers, cables, homes: { senders: servers, recipients: servers }, repeaters: REPEATERS }
}

async function serverFor(
  scenario: Scenario,
  options: TrialOptions,
  folder: string,
  data: string,
): Promise<ServerProcess> {
  if (options.script) return scriptedServer(options.script, { BENCH_DIR: data })
  const env = { HERMOD_MAM: archives(scenario, options) ? '1' : '0' }
  return hermodProcess({ folder, data, resumeTimeout: `${scenario.resumeTimeout}ms`, env })
}

/** With an archive in one half of the scenarios and without in the other; the next seed has it the other way round. */
function archives({ name }: Scenario, { archive, seed }: TrialOptions): boolean {
  return archive ?? (seed + name.length) % 2 === 0
}

function breaches({ scenario, counts, refused, resumed, theirs, ledger }: Result, died: string | undefined): string[] {
  // A server that does not know a message again is given it twice when it was cut off.
  const knows = scenario.peer === undefined || scenario.peer === 'hermod'
  const wrong: [number, string][] = [
    [counts.lost - theirs, 'acknowledged and never delivered'],
    [counts.lostRepeats, 'acknowledged and never delivered, of those that look the same'],
    [counts.falseBounces, 'delivered, yet an error went to the sender'],
    // ejabberd gives out what it kept beside what comes then.
    [scenario.peerFails && scenario.peer === 'ejabberd' ? 0 : counts.disorder, 'out of order'],
    [counts.neverAcked, 'never acknowledged'],
    [knows ? counts.avoidable : 0, 'avoidable duplicates'],
    [scenario.mayRefuse ? 0 : counts.refused, 'refused, without a reason'],
    [scenario.mustResume ? refused : 0, 'resumptions refused'],
    [scenario.mustResume && resumed === 0 ? 1 : 0, 'scenario in which nobody resumed'],
    [counts.delivered === 0 ? 1 : 0, 'scenario in which nothing was delivered'],
  ]
  const found = wrong.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`)
  const changed = [...(ledger?.messages.values() ?? [])].filter(m => ledger?.faults(m).includes('other stanza-id'))
  if (changed.length > 0) found.push(`${changed.length} duplicates with another stanza-id`)
  if (ledger && ledger.violations.length > 0) found.push(`${ledger.violations.length} breaches of the protocol`)
  if (died !== undefined) found.push(died)
  return found
}

function emptyCounts(): Counts {
  return {
    ...{ messages: 0, acked: 0, delivered: 0, refused: 0, lost: 0, falseBounces: 0, disorder: 0, neverAcked: 0 },
    ...{ avoidable: 0, unavoidable: 0, inCrash: 0, lostRepeats: 0 },
  }
}
