import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Ended, Inbound } from '../../../src/c2s/inbound.ts'
import type { C2SSession } from '../../../src/c2s/session.ts'
import type { Host } from '../../../src/core/host.ts'
import { Slots } from '../../../src/core/session.ts'
import { parseElement } from '../../../src/xml/index.ts'
import { Stanza } from '../../../src/xmpp/stanza.ts'
import { faultyStore } from '../../support/faultystore.ts'
import { fc } from '../../support/property.ts'
import { settled } from '../../support/waiting.ts'
import { FakeSession, host } from '../core/support.ts'

type Text = 'unique' | 'alarm' | 'well' | 'nameless'
type Step =
  | { do: 'say'; text: Text; to: 'juliet' | 'nurse' }
  | { do: 'arrive' | 'read'; count: number }
  | { do: 'ask' | 'server asks' | 'slow disk' | 'fast disk' | 'close' | 'later' | 'crash' }
  | { do: 'break'; arrives: number; back: 'resume' | 'fresh' | 'too late'; forgets: boolean }

const say = (text: fc.Arbitrary<Text>): fc.Arbitrary<Step> =>
  fc.record({ do: fc.constant('say' as const), text, to: fc.constantFrom('juliet' as const, 'nurse') })
const count = fc.integer({ min: 1, max: 5 })
const breaks = (forgets: fc.Arbitrary<boolean>): fc.Arbitrary<Step> =>
  fc.record({
    do: fc.constant('break' as const),
    arrives: fc.nat({ max: 5 }),
    back: fc.constantFrom('resume' as const, 'fresh', 'too late'),
    forgets,
  })
const traffic = [
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('arrive' as const, 'read'), count }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('ask' as const, 'server asks') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('slow disk' as const, 'fast disk') }) },
]

/** Whatever clients send, and however they come back. */
const anybody = fc.oneof(
  { weight: 8, arbitrary: say(fc.constantFrom('unique', 'alarm', 'well', 'nameless')) },
  ...traffic,
  { weight: 4, arbitrary: breaks(fc.boolean()) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('close' as const, 'later', 'crash') }) },
)
/** A bot with one thing to say. */
const bot = fc.oneof(
  { weight: 6, arbitrary: say(fc.constant('alarm')) },
  ...traffic,
  { weight: 4, arbitrary: breaks(fc.boolean()) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('close' as const, 'later') }) },
)
/** A client that has an id for each message, and sends again what it was not told of. */
const honest = fc.oneof(
  { weight: 8, arbitrary: say(fc.constant('unique')) },
  ...traffic,
  { weight: 4, arbitrary: breaks(fc.constant(false)) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const) }) },
)

interface Said {
  readonly to: string
  readonly body: string
  readonly xml: string
}

/** Romeo's client, the connection that it has, and the server's end of it. */
class World {
  readonly #disk = faultyStore({ only: 'queue' })
  #now = Date.now()
  #host: Host = this.#start()
  readonly #got = new Map<string, number>()
  readonly #counted = new Set<FakeSession>()
  #recipients: FakeSession[] = []
  // The client, as XEP-0198 has it.
  #unacked: Said[] = []
  #acked = 0
  /** What it was told that the server has. */
  readonly safe: Said[] = []
  #serial = 0
  // The connection.
  #up: (Said | 'r' | 'a')[] = []
  #down: ({ h: number } | 'r')[] = []
  // The server.
  #inbound!: Inbound
  #session!: { account: unknown; connected: boolean }
  #asked: number | undefined

  #start(): Host {
    return host({ store: this.#disk.store, now: () => this.#now })
  }

  async begin(): Promise<void> {
    this.#recipients = []
    for (const name of ['juliet', 'nurse']) {
      const account = (await this.#host.account(name))!
      const session = new FakeSession(account, 'r', 0)
      this.#recipients.push(session)
      this.#counted.add(session)
      await account.queue.attach(session)
      session.stanzas.length = 0 // what waited is counted already
      session.confirm(account.queue)
    }
    await this.#fresh(undefined)
  }

  async #fresh(gone: Ended | undefined): Promise<void> {
    const account = (await this.#host.account('romeo'))!
    const session = {
      account,
      slots: new Slots(),
      jid: account.jid.withResource('cron'),
      connected: true,
      sendRaw: (xml: string) => {
        const h = /^<a .*h='(\d+)'/.exec(xml)?.[1]
        if (h !== undefined && session.connected) this.#down.push({ h: Number(h) })
      },
      acknowledger: { soon: () => {} },
    }
    this.#session = session
    this.#inbound = new Inbound(session as unknown as C2SSession)
    this.#inbound.gone = gone
    await this.#inbound.start()
    this.#inbound.hasHeard()
    this.#asked = undefined
    this.#acked = 0
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'say':
        return this.#say(step.text, step.to)
      case 'arrive':
        return this.#arrive(step.count)
      case 'read':
        return this.#read(step.count)
      case 'ask':
        return void this.#up.push('r')
      case 'server asks':
        if (this.#asked !== undefined) return
        this.#asked = this.#inbound.told
        return void this.#down.push('r')
      case 'slow disk':
        return this.#disk.troubles.writes.close()
      case 'fast disk':
        this.#disk.troubles.writes.open()
        return settled()
      case 'later':
        this.#now += 11 * 60_000
        return
      case 'close':
        return this.close()
      case 'crash':
        return this.#crash()
      case 'break':
        return this.#break(step)
    }
  }

  #say(text: Text, to: string): void {
    const serial = ++this.#serial
    const body = text === 'unique' ? `unique ${serial}` : text
    const id = text === 'nameless' ? '' : ` id='${text === 'unique' ? serial : text}'`
    const xml = `<message type='chat' to='${to}@example.org' from='romeo@example.org/cron'${id}><body>${body}</body></message>`
    this.#send({ to, body, xml })
  }

  #send(said: Said): void {
    this.#unacked.push(said)
    this.#up.push(said)
  }

  async #arrive(count: number): Promise<void> {
    for (const thing of this.#up.splice(0, count)) {
      if (thing === 'r') this.#inbound.requested()
      else if (thing === 'a') {
        if (this.#asked !== undefined) this.#inbound.knows(this.#asked)
        this.#asked = undefined
      } else {
        const done = this.#inbound.message(Stanza.of(parseElement(thing.xml)))
        if (done instanceof Promise) await this.#inbound.during(done)
        else this.#inbound.count()
      }
    }
    await settled()
  }

  #read(count: number): void {
    for (const thing of this.#down.splice(0, count)) {
      if (thing === 'r') this.#up.push('a')
      else this.#told(thing.h)
    }
  }

  #told(h: number): void {
    assert.ok(h >= this.#acked && h - this.#acked <= this.#unacked.length, 'the server counts right')
    this.safe.push(...this.#unacked.splice(0, h - this.#acked))
    this.#acked = h
  }

  /** The connection breaks: of what is on its way up something may arrive, of what is on its way down nothing. */
  async #break({ arrives, back, forgets }: Step & { do: 'break' }): Promise<void> {
    await this.#arrive(arrives)
    this.#lose()
    if (back === 'resume' && !forgets) {
      await this.#inbound.allSafe(1)
      this.#inbound.rewind()
      this.#session.connected = true
      this.#asked = undefined
      this.#told(this.#inbound.safe)
      this.#up.push(...this.#unacked)
      return
    }
    const { end } = this.#inbound
    this.#inbound.over()
    if (back === 'too late' && !forgets) {
      end.run.told = Math.max(end.run.told, end.n)
      this.#told(end.h)
    }
    await this.#again(back === 'too late' && !forgets ? end : undefined, forgets)
  }

  #lose(): void {
    this.#session.connected = false
    this.#up = []
    this.#down = []
  }

  async #again(gone: Ended | undefined, forgets: boolean): Promise<void> {
    await this.#fresh(gone)
    const again = this.#unacked.splice(0)
    if (!forgets) for (const said of again) this.#send(said)
  }

  /** The client closes its stream in order, and reads all there is. */
  async close(): Promise<void> {
    this.#disk.troubles.writes.open()
    await this.#arrive(Number.POSITIVE_INFINITY)
    await this.#inbound.allSafe(1000)
    await this.#inbound.closed(1000)
    this.#inbound.requested()
    this.#read(Number.POSITIVE_INFINITY)
    this.#inbound.over()
    assert.equal(this.#unacked.length, 0)
    this.#lose()
    await this.#again(undefined, true)
  }

  async #crash(): Promise<void> {
    this.#lose()
    this.#tally()
    this.#host = this.#start()
    const again = this.#unacked
    this.#unacked = []
    await this.begin()
    for (const said of again) this.#send(said)
  }

  #tally(): void {
    for (const { stanzas, jid } of this.#recipients) {
      for (const { el } of stanzas.splice(0)) {
        const key = `${jid.local} ${el.getChildText('body')}`
        this.#got.set(key, (this.#got.get(key) ?? 0) + 1)
      }
    }
  }

  /** How many of each came, and how many of each its sender knows to be safe. */
  result(): { got: Map<string, number>; safe: Map<string, number> } {
    this.#tally()
    const safe = new Map<string, number>()
    for (const { to, body } of this.safe) safe.set(`${to} ${body}`, (safe.get(`${to} ${body}`) ?? 0) + 1)
    return { got: this.#got, safe }
  }
}

/** `before`: what the client has said earlier, which shows whether its ids mean something. */
async function play(steps: readonly Step[], before: readonly Text[] = []): Promise<ReturnType<World['result']>> {
  const world = new World()
  await world.begin()
  for (const text of before) await world.take({ do: 'say', text, to: 'nurse' })
  await world.take({ do: 'arrive', count: before.length })
  for (const step of steps) await world.take(step)
  await world.close()
  return world.result()
}

const runs = { numRuns: Number(process.env['HERMOD_TEST_RUNS'] ?? 200) }
const many = (step: fc.Arbitrary<Step>) => fc.array(step, { maxLength: 50, size: 'max' })

test('a bot with one thing to say: as many come as it was told of, however it breaks and comes back', async () => {
  await fc.assert(
    fc.asyncProperty(many(bot), async steps => {
      const { got, safe } = await play(steps)
      for (const [what, count] of safe)
        assert.ok((got.get(what) ?? 0) >= count, `${what}: ${got.get(what)} of ${count}`)
    }),
    runs,
  )
})

test('unique ids, all sent again until their sender was told: each comes, and once', async () => {
  await fc.assert(
    fc.asyncProperty(many(honest), async steps => {
      const { got, safe } = await play(steps, ['unique', 'unique', 'unique', 'unique'])
      assert.deepEqual(got, new Map([...got.keys()].map(what => [what, 1])), 'once')
      assert.deepEqual([...got.keys()].sort(), [...safe.keys()].sort())
    }),
    runs,
  )
})

test('whatever clients send: of those that all look the same as many come as their sender was told of', async () => {
  await fc.assert(
    fc.asyncProperty(many(anybody), async steps => {
      const { got, safe } = await play(steps, ['alarm', 'alarm', 'well', 'well'])
      for (const [what, count] of safe) {
        assert.ok(
          (got.get(what) ?? 0) >= (what.includes('unique') ? 1 : count),
          `${what}: ${got.get(what)} of ${count}`,
        )
      }
    }),
    runs,
  )
})
