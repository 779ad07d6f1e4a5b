import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Entry } from '../../../src/core/queue/entry.ts'
import { parseElement } from '../../../src/xml/index.ts'
import { Stanza } from '../../../src/xmpp/stanza.ts'
import { fc } from '../../support/property.ts'
import { eventually, settled } from '../../support/waiting.ts'
import { bodyIn, type Manner, Net, Side } from './net.ts'

type Step =
  | { do: 'send'; from: 'montague' | 'capulet'; who: number }
  | { do: 'turns'; count: number }
  | { do: 'crash' | 'slow disk' | 'fast disk' | 'still'; where: 'montague' | 'capulet' }
  | { do: 'cut' | 'down' | 'up' | 'wake' | 'ask' }

const where = fc.constantFrom('montague' as const, 'capulet' as const)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant('send' as const), from: where, who: fc.nat({ max: 2 }) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('slow disk' as const, 'fast disk', 'still'), where }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), where }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('cut' as const, 'down', 'up', 'wake', 'ask', 'ask') }) },
)
const manner: fc.Arbitrary<Manner & { sharing: boolean }> = fc.record({
  sm: fc.boolean(),
  bidi: fc.boolean(),
  sharing: fc.boolean(),
})

/** Two servers, users on both, and what was said. */
class World {
  readonly #net: Net
  readonly #sides: Record<'montague' | 'capulet', Side>
  /** By whom, in order; `safe`: the sender was told so. */
  readonly #sent: { from: string; to: string; body: string; safe: boolean; lost: boolean }[] = []

  constructor(manner: Manner & { sharing: boolean }) {
    const net = new Net(manner)
    net.sharing = manner.sharing
    this.#net = net
    this.#sides = {
      montague: new Side(net, 'montague.example', ['rooms.montague.example']),
      capulet: new Side(net, 'capulet.example', ['rooms.capulet.example']),
    }
  }

  async take(step: Step): Promise<void> {
    const net = this.#net
    switch (step.do) {
      case 'send':
        return this.#send(step.from, step.who)
      case 'turns':
        return settled(step.count)
      case 'slow disk':
        return this.#sides[step.where].disk.troubles.writes.close()
      case 'fast disk':
        return this.#sides[step.where].disk.troubles.writes.open()
      case 'still':
        net.still.add(this.#sides[step.where].name)
        return
      case 'wake':
        return net.wake()
      case 'cut':
        return net.cut()
      case 'ask':
        for (const { links } of Object.values(this.#sides)) {
          for (const talk of links.conversations) void talk.settled(1)
        }
        return
      case 'down':
        net.down = 'remote-server-timeout'
        return
      case 'up':
        net.down = undefined
        return
      case 'crash':
        return this.#crash(step.where)
    }
  }

  #send(from: 'montague' | 'capulet', who: number): void {
    const side = this.#sides[from]
    const other = from === 'montague' ? this.#sides.capulet : this.#sides.montague
    const user = [`romeo@${side.name}`, `juliet@${side.name}`, `garden@rooms.${side.name}`][who]!
    const sent = {
      from: user,
      to: `nurse@${other.name}`,
      body: String(this.#sent.length),
      safe: false,
      lost: false,
    }
    this.#sent.push(sent)
    const stanza = Stanza.of(
      parseElement(
        `<message type='chat' id='m' from='${sent.from}/r' to='${sent.to}'><body>${sent.body}</body></message>`,
      ),
    )
    const { host } = side
    const accepted = (): void => {}
    const safe = ({ bounced }: Entry): void => {
      if (side.host === host && !bounced) sent.safe = true
    }
    void host.router.route(stanza, { origin: { accepted, safe } })
  }

  async #crash(where: 'montague' | 'capulet'): Promise<void> {
    const side = this.#sides[where]
    for (const sent of this.#sent) if (!sent.safe && sent.from.endsWith(side.name)) sent.lost = true
    await side.crash()
  }

  /** All comes back, and all that was said arrives: once, and in order. */
  async finish(): Promise<void> {
    const net = this.#net
    net.down = undefined
    net.wake()
    const sides = Object.values(this.#sides)
    for (const { disk } of sides) disk.troubles.writes.open()
    await eventually(
      async () => {
        await settled()
        for (const { links } of sides) {
          for (const link of links.links()) {
            if (link.queue.messages > 0) return false
            if (link.state === 'connected' && link.conversation?.unacknowledged !== 0) return false
          }
        }
        return this.#sent.every(({ safe, lost }) => safe || lost)
      },
      'everything is acknowledged',
      30_000,
    )
    for (const side of sides) {
      const nurse = await side.client('nurse')
      const got = nurse.stanzas.map(stanza => ({ from: String(stanza.from.bare), body: bodyIn(stanza.toString())! }))
      const numbers = got.map(({ body }) => Number(body))
      assert.equal(new Set(numbers).size, numbers.length, `nothing twice: ${numbers}`)
      const mine = this.#sent.filter(({ to }) => to === `nurse@${side.name}`)
      for (const { safe, body } of mine) assert.ok(!safe || numbers.includes(Number(body)), `${body} was lost`)
      for (const from of new Set(mine.map(sent => sent.from))) {
        const order = got.filter(message => message.from === from).map(({ body }) => Number(body))
        assert.deepEqual(
          order,
          order.toSorted((a, b) => a - b),
          'in the order in which it was said',
        )
      }
      for (const user of ['romeo', 'juliet']) {
        const sender = await side.client(user)
        assert.deepEqual(sender.stanzas.map(String), [], 'nobody was told an error')
      }
    }
    for (const { links } of sides) await links.stop(100)
  }
}

test('whatever breaks between two servers, and in them: nothing is lost, nothing comes twice or out of order', async () => {
  await fc.assert(
    fc.asyncProperty(manner, fc.array(step, { maxLength: 60, size: 'max' }), async (manner, steps) => {
      const world = new World(manner)
      for (const step of steps) await world.take(step)
      await world.finish()
    }),
    { numRuns: 40, endOnFailure: true },
  )
})
