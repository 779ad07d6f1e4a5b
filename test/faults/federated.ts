/** The faults of two servers that federate: hermod with hermod, and with servers of another make. */

import type { Return } from './people.ts'
import {
  freezes,
  logouts,
  losses,
  managed,
  plain,
  restarts,
  type Scenario,
  senders,
  sigkill,
  sigterm,
} from './scenarios.ts'
import type { World } from './world.ts'

/** Never reached, however slow the machine. */
const LONG = 60_000
const RETURNS: Return[] = ['resume', 'fresh', 'elsewhere']

/** What lies between the servers is cut; or it lets nothing through for a while, and is cut then, or not. */
async function cuts(world: World, silent: boolean): Promise<void> {
  const { cables = [] } = world.options
  while (await world.pause(50, 300)) {
    const cable = world.chance.pick(cables)
    if (silent) {
      world.ledger.event('cable', 'lets nothing through')
      cable.hold()
      await world.away(50, 600)
    }
    if (!silent || world.chance.one(0.5)) {
      world.ledger.event('cable', 'is cut')
      cable.cut()
    }
    cable.release()
  }
}

/** One of the servers goes down, and comes up again; its people are told nothing before. */
async function failures(world: World, which: readonly number[], down: 'kill' | 'stop' | 'either'): Promise<void> {
  while (await world.pause(200, 600)) {
    const server = world.servers[world.chance.pick(which)]!
    const kill = down === 'either' ? world.chance.one(0.5) : down === 'kill'
    await (kill ? world.crash(server) : world.terminate(server))
    await world.away(0, 600)
    await world.restart(server)
    await world.gather()
  }
}

async function stills(world: World, which: readonly number[]): Promise<void> {
  while (await world.pause(100, 300)) {
    const server = world.servers[world.chance.pick(which)]!
    world.ledger.event(server.domain, 'SIGSTOP')
    server.signal('SIGSTOP')
    await world.away(100, 700)
    world.ledger.event(server.domain, 'SIGCONT')
    server.signal('SIGCONT')
  }
}

const hermods: readonly Scenario[] = [
  {
    name: 'peers-cut',
    about: 'what lies between two servers is cut',
    resumeTimeout: LONG,
    run: world => cuts(world, false),
  },
  {
    name: 'peers-silent',
    about: 'what lies between two servers lets nothing through for a while, and is cut, or not',
    resumeTimeout: LONG,
    run: world => cuts(world, true),
  },
  {
    name: 'peers-restart',
    about: 'recipients unreachable, then SIGTERM and a start of one of two servers',
    resumeTimeout: 2000,
    run: world => restarts(world, sigterm(world), RETURNS),
  },
  {
    name: 'peers-crash',
    about: 'recipients unreachable, then SIGKILL and a start of one of two servers',
    resumeTimeout: 2000,
    run: world => restarts(world, sigkill(world), RETURNS),
  },
  {
    name: 'peers-freeze',
    about: 'SIGSTOP of one of two servers, people are cut meanwhile, SIGCONT',
    resumeTimeout: LONG,
    run: freezes,
  },
  {
    name: 'peers-everything',
    about:
      'two servers: cables cut and silent, crash and restart of both, and the faults of people on both, all at once',
    ...{ resumeTimeout: 2000, restartAtEnd: true },
    run: world =>
      world.together([
        cuts(world, false),
        failures(world, [0, 1], 'either'),
        losses(world, managed, 'cut', RETURNS, [20, 300], 1),
        losses(world, managed, 'silent', RETURNS, [20, 300], 1),
        losses(world, plain, 'cut', ['fresh', 'elsewhere'], [20, 300], 1),
        losses(world, senders, 'cut', ['resume', 'fresh'], [20, 300], 1),
        logouts(world, w => w.recipients, 1),
      ]),
  },
]

/** hermod is server 0, the other is 1. */
const OTHERS: readonly Omit<Scenario, 'resumeTimeout' | 'peer'>[] = [
  {
    name: 'cut',
    about: 'what lies between is cut, or lets nothing through for a while',
    run: world => world.together([cuts(world, false), cuts(world, true)]),
  },
  { name: 'crash', about: 'hermod is killed, and started again', run: world => failures(world, [0], 'kill') },
  { name: 'freeze', about: 'it stands still for a while, or hermod does', run: world => stills(world, [0, 1]) },
  { name: 'away', about: 'it is stopped or killed, and started again', run: world => failures(world, [1], 'either') },
  {
    name: 'all',
    about: 'cables are cut, and either is stopped, killed and started again',
    run: world => world.together([cuts(world, false), failures(world, [0, 1], 'either')]),
  },
]

/** Prosody with XEP-0198 and without, where pings have to do as with ejabberd: and it keeps on the disk what it takes. */
const MAKES = [
  { make: 'prosody', peer: 'prosody' },
  { make: 'prosody-pinged', peer: 'prosody', unmanaged: true },
  { make: 'ejabberd', peer: 'ejabberd' },
] as const

export const federated: readonly Scenario[] = [
  ...hermods.map(scenario => ({ ...scenario, peer: 'hermod' as const })),
  ...MAKES.flatMap(({ make, ...peer }) =>
    OTHERS.map(({ name, about, run }) => {
      const peerFails = name === 'away' || name === 'all'
      return {
        name: `${make}-${name}`,
        about: `people of ${make}: ${about}`,
        run,
        ...peer,
        peerFails,
        resumeTimeout: LONG,
      }
    }),
  ),
]
