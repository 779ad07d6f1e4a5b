/**
 * What it costs to talk across servers, of hermod, ejabberd and Prosody in one run: `node bench/federation.ts [WHAT...]`, with
 * WHAT of `chat`, `chat-plain`, `echo`, `idle` (all unless said), and makes (`hermod`, `ejabberd`, `prosody`). Servers run on core 0, this
 * program on core 1; CPU and memory are read from /proc (Linux). SECONDS=6, ROUNDS=2, PEERS=5000 from the environment.
 *
 * chat: two servers of one make, both on core 0, on loopback addresses with names and certificates of their own; 50 people on
 * either write to 50 on the other, all connections over TLS; chat-plain: only those of servers. echo: 50 people write to a component, which sends every text back.
 * idle: memory of one server with so many others that have a stream to it.
 */
import { execFileSync } from 'node:child_process'
import { type Make, missing, PeerWorld } from '../test/support/peers/world.ts'
import { measureIdle, PEERS } from './federation/idle.ts'
import { component, logIn, register } from './federation/session.ts'
import { echo, measureTalks, type TalkCost } from './federation/talks.ts'

const SERVERS_CORE = 0
const OWN_CORE = 1
const PEOPLE = 50
const { SECONDS = '6', ROUNDS = '2', PEERS: IDLE = '5000' } = process.env
const env = { HERMOD_MAM: '0' }

type Kind = 'chat' | 'chat-plain' | 'echo' | 'idle'
const KINDS: readonly Kind[] = ['chat', 'chat-plain', 'echo', 'idle']
const MAKES: readonly Make[] = ['hermod', 'ejabberd', 'prosody']

const words = process.argv.slice(2)
const asked = <T extends string>(all: readonly T[]): readonly T[] => {
  const named = all.filter(one => words.includes(one))
  return named.length > 0 ? named : all
}

/** Does something in a world of its own. */
async function within<T>(work: (world: PeerWorld) => Promise<T>): Promise<T> {
  const after: (() => void | Promise<void>)[] = []
  try {
    return await work(await PeerWorld.start({ after: fn => void after.unshift(fn) }))
  } finally {
    for (const fn of after) await fn()
  }
}

async function chat(make: Make, plain: boolean): Promise<TalkCost> {
  return within(async world => {
    const one = await world.server(make, 'one.example', { core: SERVERS_CORE, env })
    const other = await world.server(make, 'other.example', { core: SERVERS_CORE, env })
    await Promise.all([register(one, PEOPLE * 2), register(other, PEOPLE * 2)])
    const [near, far] = await Promise.all([logIn(one, PEOPLE * 2, plain), logIn(other, PEOPLE * 2, plain)])
    // The first half of either writes to the second half of the other.
    const talks = Array.from({ length: PEOPLE }, (_, i) => [
      { from: near[i]!, at: far[PEOPLE + i]!, to: far[PEOPLE + i]!.jid },
      { from: far[i]!, at: near[PEOPLE + i]!, to: near[PEOPLE + i]!.jid },
    ])
    return measureTalks([one.pid!, other.pid!], talks.flat(), Number(SECONDS))
  })
}

async function echoes(make: Make): Promise<TalkCost> {
  return within(async world => {
    const server = await world.server(make, 'one.example', { core: SERVERS_CORE, env })
    await register(server, PEOPLE)
    const bot = await component(server)
    echo(bot)
    const people = await logIn(server, PEOPLE, true)
    const talks = people.map(person => ({ from: person, at: person, to: bot.jid }))
    return measureTalks([server.pid!], talks, Number(SECONDS))
  })
}

async function idle(make: Make): Promise<number> {
  return within(async world => {
    const server = await world.server(make, 'one.example', { core: SERVERS_CORE, env, strict: true })
    return measureIdle(server, world.ca.issue([PEERS, `*.${PEERS}`]), Number(IDLE))
  })
}

function line(kind: Kind, make: Make, { cpu, perSecond, median, p99, own, lost, disorder }: TalkCost): void {
  const rest = `${Math.round(perSecond)}/s, ${median.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, generator ${own.toFixed(1)} µs`
  console.log(`${kind} ${make}: ${cpu.toFixed(1)} µs a message; ${rest}, lost ${lost}, out of order ${disorder}`)
}

execFileSync('taskset', ['-acp', String(OWN_CORE), String(process.pid)])
for (const kind of asked(KINDS)) {
  const best = new Map<Make, number>()
  for (let round = 1; round <= (kind === 'idle' ? 1 : Number(ROUNDS)); round++) {
    for (const make of asked(MAKES)) {
      const why = missing(make)
      if (why !== false) {
        console.log(`${kind} ${make}: ${why}`)
        continue
      }
      let cost: number
      if (kind === 'idle') {
        cost = await idle(make)
        console.log(`idle ${make}: ${cost.toFixed(1)} KB each of ${IDLE}`)
      } else {
        const found = await (kind === 'echo' ? echoes(make) : chat(make, kind === 'chat-plain'))
        line(kind, make, found)
        cost = found.cpu
      }
      best.set(make, Math.min(cost, best.get(make) ?? Number.POSITIVE_INFINITY))
    }
  }
  const others = [best.get('ejabberd'), best.get('prosody')].filter(cost => cost !== undefined)
  const hermod = best.get('hermod')
  if (hermod !== undefined && others.length > 0) {
    console.log(`${kind}: hermod / better of the others ${(hermod / Math.min(...others)).toFixed(2)}`)
  }
}
