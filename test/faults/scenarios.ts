/** The faults, each alone and all together. A scenario's `run` makes faults until the world's time is up. */
import type { ServerProcess } from '../support/launched.ts'
import type { Make } from '../support/peers/world.ts'
import type { Person, Return } from './people.ts'
import type { World } from './world.ts'

export interface Scenario {
  name: string
  about: string
  /** The server's resumption timeout, in ms. */
  resumeTimeout: number
  /** There is a second server. hermod: with people who send and receive on both; another: all recipients are there. */
  peer?: Make
  /** Where that does not speak XEP-0198 with other servers. */
  unmanaged?: boolean
  /** That is stopped and killed: what it has taken over and loses then is no fault of hermod. */
  peerFails?: boolean
  /** The data folder is a small disk. */
  smallDisk?: boolean
  /** Errors to the sender for messages that were not delivered are right here. */
  mayRefuse?: boolean
  /** No resumption may be refused. */
  mustResume?: boolean
  /** The server restarts before everybody's last login. */
  restartAtEnd?: boolean
  /** Senders say which device they are. */
  namedSenders?: boolean
  /** Recipients enable stream management when they have messages already. */
  lateEnable?: boolean
  run(world: World): Promise<void>
}

/** Never reached, however slow the machine. */
const LONG = 60_000
/** Short enough to wait for the end of a forgotten session. */
const SHORT = 1000

type Loss = 'cut' | 'silent'

/** Several people at once (`lanes`), one fault after the other each: lose the network, be away, come back. */
export async function losses(
  world: World,
  people: (world: World) => readonly Person[],
  loss: Loss,
  returns: readonly Return[],
  away: [number, number] = [20, 300],
  lanes = 3,
): Promise<void> {
  const lane = async (): Promise<void> => {
    while (await world.pause(20, 120)) {
      const person = world.someone(people(world))
      if (!person) continue
      person.lose(loss === 'silent' ? 'silent' : world.chance.pick(['fin', 'rst']))
      await world.away(...away)
      await person.arrive(world.chance.pick(returns))
    }
  }
  await world.together(Array.from({ length: lanes }, lane))
}

export const managed = (world: World): Person[] => world.recipients.filter(r => r.sm)
export const plain = (world: World): Person[] => world.recipients.filter(r => !r.sm)
export const senders = (world: World): Person[] => world.senders

/** Orderly logout, and a later login. */
export async function logouts(world: World, people: (world: World) => readonly Person[], lanes = 2): Promise<void> {
  const lane = async (): Promise<void> => {
    while (await world.pause(20, 150)) {
      const person = world.someone(people(world))
      if (!person) continue
      await person.leave()
      await world.away(50, 400)
      await person.arrive(world.chance.pick(['fresh', 'elsewhere']))
    }
  }
  await world.together(Array.from({ length: lanes }, lane))
}

type Down = (server: ServerProcess) => Promise<void>

/** Half of a server's recipients unreachable, then it goes down and comes up again, then everybody returns. */
export async function restarts(world: World, down: Down, returns: readonly Return[]): Promise<void> {
  while (await world.pause(300, 700)) {
    const server = world.chance.pick(world.servers)
    const here = managed(world).filter(p => p.home === server)
    const lost = world.chance.some(
      here.filter(p => p.ready),
      Math.ceil(here.length / 2),
    )
    for (const person of lost) person.lose(world.chance.pick(['silent', 'fin', 'rst']))
    await world.away(100, 400)
    await down(server)
    await world.away(0, 200)
    await world.restart(server)
    await Promise.all(lost.map(person => person.arrive(world.chance.pick(returns))))
    await world.gather()
  }
}

export const sigterm =
  (world: World): Down =>
  server =>
    world.terminate(server)
export const sigkill =
  (world: World): Down =>
  server =>
    world.crash(server)

/** The server goes down, and comes up again, as soon as half of the recipients have come back fresh. */
async function greetedByRestarts(world: World): Promise<void> {
  while (await world.pause(100, 300)) {
    const some = world.chance.some(
      managed(world).filter(p => p.ready),
      Math.ceil(world.options.recipients / 2),
    )
    for (const person of some) person.lose('fin')
    await world.away(50, 200)
    await Promise.all(some.map(person => person.arrive('fresh')))
    const server = world.chance.pick(world.servers)
    await world.terminate(server)
    await world.restart(server)
    await world.gather()
  }
}

/** The server stands still; some cut the connection meanwhile and wait at the door. */
export async function freezes(world: World): Promise<void> {
  while (await world.pause(150, 400)) {
    const server = world.chance.pick(world.servers)
    world.ledger.event(server.domain, 'SIGSTOP')
    server.signal('SIGSTOP')
    await world.away(50, 200)
    const lost = [...world.chance.some(managed(world), 2), ...world.chance.some(senders(world), 1)].filter(p => p.ready)
    for (const person of lost) person.lose(world.chance.pick(['fin', 'rst', 'silent']))
    const back = lost.map(person => person.arrive('resume'))
    await world.away(100, 600)
    world.ledger.event(server.domain, 'SIGCONT')
    server.signal('SIGCONT')
    await Promise.all(back)
  }
}

async function fullDisk(world: World): Promise<void> {
  const lane = async (): Promise<void> => {
    while (await world.pause(200, 500)) {
      world.ledger.event('disk', 'full')
      world.options.disk?.fill()
      await world.away(300, 800)
      world.options.disk?.free()
      world.ledger.event('disk', 'freed')
    }
  }
  await world.together([lane(), logouts(world, managed, 2)])
}

async function everything(world: World): Promise<void> {
  const kinds: Return[] = ['resume', 'fresh', 'elsewhere']
  const down: Down = server => (world.chance.one(0.5) ? world.crash(server) : world.terminate(server))
  await world.together([
    losses(world, managed, 'cut', kinds, [20, 300], 1),
    losses(world, managed, 'silent', kinds, [20, 300], 1),
    losses(world, plain, 'cut', ['fresh', 'elsewhere'], [20, 300], 1),
    losses(world, senders, 'cut', ['resume', 'fresh'], [20, 300], 1),
    logouts(world, w => w.recipients, 1),
    restarts(world, down, kinds),
  ])
}

export const scenarios: readonly Scenario[] = [
  {
    name: 'recipient-resumes',
    about: 'recipients are cut, and resume',
    ...{ resumeTimeout: LONG, mustResume: true },
    run: world => losses(world, managed, 'cut', ['resume']),
  },
  {
    name: 'recipient-fresh',
    about: 'recipients are cut, and come back fresh with the same resource',
    resumeTimeout: SHORT,
    run: world => losses(world, managed, 'cut', ['fresh']),
  },
  {
    name: 'recipient-elsewhere',
    about: 'recipients are cut, and come back fresh with another resource',
    resumeTimeout: SHORT,
    run: world => losses(world, managed, 'cut', ['elsewhere']),
  },
  {
    name: 'silent-resumes',
    about: 'recipients go half-open, and resume',
    ...{ resumeTimeout: LONG, mustResume: true },
    run: world => losses(world, managed, 'silent', ['resume']),
  },
  {
    name: 'silent-fresh',
    about: 'recipients go half-open, and come back fresh with the same resource',
    resumeTimeout: SHORT,
    run: world => losses(world, managed, 'silent', ['fresh']),
  },
  {
    name: 'silent-elsewhere',
    about: 'recipients go half-open, and come back fresh with another resource',
    resumeTimeout: SHORT,
    run: world => losses(world, managed, 'silent', ['elsewhere']),
  },
  {
    name: 'past-timeout',
    about: 'recipients are cut or go half-open, and try to resume after the timeout',
    resumeTimeout: 400,
    run: async world => {
      const away: [number, number] = [450, 900]
      await world.together([
        losses(world, managed, 'cut', ['resume', 'fresh', 'elsewhere'], away),
        losses(world, managed, 'silent', ['resume', 'elsewhere'], away, 1),
      ])
    },
  },
  {
    name: 'logout',
    about: 'recipients log out in order, and in again later',
    ...{ resumeTimeout: SHORT, restartAtEnd: true },
    run: world => logouts(world, w => w.recipients),
  },
  {
    name: 'plain-clients',
    about: 'recipients without stream management are cut, or log out in order',
    resumeTimeout: SHORT,
    run: async world => {
      await Promise.all([losses(world, plain, 'cut', ['fresh', 'elsewhere'], [20, 300], 2), logouts(world, plain, 1)])
    },
  },
  {
    name: 'sender-resumes',
    about: 'senders are cut or go half-open, and resume',
    ...{ resumeTimeout: LONG, mustResume: true },
    run: async world => {
      await world.together([
        losses(world, senders, 'cut', ['resume'], [20, 300], 2),
        losses(world, senders, 'silent', ['resume'], [20, 300], 1),
      ])
    },
  },
  {
    name: 'sender-fresh',
    about: 'senders are cut or go half-open, come back fresh with the same resource, and send again',
    resumeTimeout: SHORT,
    run: async world => {
      await world.together([
        losses(world, senders, 'cut', ['fresh'], [20, 300], 2),
        losses(world, senders, 'silent', ['fresh'], [20, 300], 1),
      ])
    },
  },
  {
    name: 'sender-late',
    about: 'senders are cut, and try to resume after the timeout',
    resumeTimeout: 400,
    run: world => losses(world, senders, 'cut', ['resume', 'fresh'], [450, 900]),
  },
  {
    name: 'sender-elsewhere',
    about: 'senders are cut, come back fresh with another resource on the device that they name, and send again',
    ...{ resumeTimeout: SHORT, namedSenders: true },
    run: world => losses(world, senders, 'cut', ['elsewhere']),
  },
  {
    name: 'restart',
    about: 'recipients unreachable, then SIGTERM and a start: everybody resumes',
    ...{ resumeTimeout: LONG, mustResume: true },
    run: world => restarts(world, sigterm(world), ['resume']),
  },
  {
    name: 'restart-fresh',
    about: 'recipients unreachable, then SIGTERM and a start: they come back fresh',
    resumeTimeout: 2000,
    run: world => restarts(world, sigterm(world), ['fresh', 'elsewhere']),
  },
  {
    name: 'late-enable',
    about:
      'recipients enable stream management late; they are cut, the server gets SIGTERM: they resume, or come back fresh',
    ...{ resumeTimeout: 2000, lateEnable: true, restartAtEnd: true },
    run: async world => {
      const kinds: Return[] = ['resume', 'fresh']
      await world.together([losses(world, managed, 'cut', kinds), greetedByRestarts(world)])
    },
  },
  {
    name: 'crash',
    about: 'recipients unreachable, then SIGKILL and a start: they try to resume, or come back fresh',
    resumeTimeout: 2000,
    run: world => restarts(world, sigkill(world), ['resume', 'fresh', 'elsewhere']),
  },
  {
    name: 'freeze',
    about: 'SIGSTOP, people are cut meanwhile, SIGCONT',
    ...{ resumeTimeout: LONG, mustResume: true },
    run: freezes,
  },
  {
    name: 'full-disk',
    about: 'the disk fills up and is freed again, while recipients log out and in',
    ...{ resumeTimeout: SHORT, smallDisk: true, mayRefuse: true, restartAtEnd: true },
    run: fullDisk,
  },
  {
    name: 'everything',
    about: 'cut, half-open, logout, crash and restart, of recipients and senders, all at once',
    ...{ resumeTimeout: 2000, restartAtEnd: true },
    run: everything,
  },
]
