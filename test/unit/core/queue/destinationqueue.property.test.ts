import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DestinationQueue, DestinationQueues } from '../../../../src/core/queue/destinationqueue.ts'
import { openMemoryStore } from '../../../../src/storage/memory.ts'
import { IdGenerator } from '../../../../src/util/ids.ts'
import { faultyStore } from '../../../support/faultystore.ts'
import { fc } from '../../../support/property.ts'
import { settled } from '../../../support/waiting.ts'
import { FakeHolder, FakeOrigin, message, silent } from '../support.ts'

const KEY = 'example.org example.net'
const LIFETIME = 10_000
const SENDERS = ['romeo', 'nurse', 'paris']

type Step =
  | { do: 'send'; who: number; waited: boolean }
  | { do: 'attach' | 'confirm' | 'pass'; count: number }
  | { do: 'leave' | 'restart' | 'slow disk' | 'fast disk' | 'full disk' | 'room on disk' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('send' as const), who: fc.nat({ max: 2 }), waited: fc.boolean() }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constantFrom('attach' as const, 'confirm', 'pass'),
      count: fc.integer({ min: 1, max: 6 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('leave' as const, 'restart', 'slow disk', 'fast disk', 'full disk', 'room on disk'),
    }),
  },
)

/** A destination's queue, what takes it, and what is known to be in it. */
class World {
  readonly #inner = openMemoryStore()
  #disk = faultyStore({ inner: this.#inner })
  #now = 1_700_000_000_000
  #queues = this.#start()
  #queue!: DestinationQueue
  #holder: FakeHolder | undefined
  /** Messages that were accepted, and whose end is not known. */
  readonly #open = new Map<string, { from: string; safe: boolean }>()
  readonly #ended = new Map<string, 'acknowledged' | 'bounced'>()

  #start(): DestinationQueues {
    const disk = faultyStore({ inner: this.#inner })
    this.#disk = disk
    return new DestinationQueues({
      store: disk.store,
      table: 's2s_queue',
      ids: new IdGenerator(() => this.#now),
      log: silent,
      limits: () => ({ messages: 12, bytes: 1e6, senderMessages: 6, senderBytes: 1e6, lifetime: LIFETIME }),
      // What a dead process says nobody hears.
      bounced: (_key, stanza) => this.#disk === disk && this.#end(stanza.id!, 'bounced'),
      now: () => this.#now,
      retryWrites: 1,
    })
  }

  async begin(): Promise<void> {
    this.#queue = await this.#queues.open(KEY)
  }

  #end(id: string, how: 'acknowledged' | 'bounced'): void {
    assert.equal(this.#ended.get(id), undefined, `${id} was ${this.#ended.get(id)}, and now ${how}`)
    this.#ended.set(id, how)
    this.#open.delete(id)
  }

  async take(step: Step): Promise<void> {
    const { troubles } = this.#disk
    switch (step.do) {
      case 'send':
        this.#send(SENDERS[step.who]!, step.waited)
        break
      case 'attach':
        if (this.#holder !== undefined) break
        this.#holder = new FakeHolder()
        this.#holder.limit = step.count
        void this.#queue.attach(this.#holder)
        break
      case 'confirm':
        this.#confirm(step.count)
        break
      case 'leave':
        this.#leave()
        break
      case 'pass':
        this.#now += step.count * 2000
        break
      case 'slow disk':
        return troubles.writes.close()
      case 'full disk':
        troubles.failWrites = true
        break
      case 'fast disk':
      case 'room on disk':
        troubles.failWrites = false
        troubles.writes.open()
        break
      case 'restart':
        return this.restart()
    }
    await settled(2)
  }

  #send(user: string, waited: boolean): void {
    const serial = `m${this.#open.size + this.#ended.size}`
    const from = `${user}@example.org/r`
    const stanza = message('juliet@example.net', 'chat', 'hi', from).changed(el => (el.attrs['id'] = serial))
    const mine = [...this.#open.values()].filter(open => open.from === from).length
    const note = { from, safe: false }
    const origin = waited ? new FakeOrigin() : undefined
    const disk = this.#disk
    if (origin !== undefined) origin.safe = () => (note.safe = this.#disk === disk)
    const push = () => this.#queue.push(stanza, 'example.org', origin, this.#holder)
    if (mine >= 6 || this.#open.size >= 12) return void assert.throws(push, /resource-constraint/)
    this.#open.set(serial, note)
    push()
  }

  #confirm(count: number): void {
    const queue = this.#queue
    this.#holder?.confirm(
      {
        confirm: (entry: FakeHolder['held'][number], holder: FakeHolder) => {
          if (!entry.done) this.#end(/ id='(m\d+)'/.exec(entry.bytes.toString())![1]!, 'acknowledged')
          queue.confirm(entry, holder)
        },
      } as never,
      count,
    )
  }

  #leave(): void {
    this.#checkOrder()
    this.#holder?.leave(this.#queue as never)
    this.#holder = undefined
  }

  #checkOrder(): void {
    const ids = this.#holder?.ids ?? []
    for (const [i, id] of ids.entries()) assert.ok(i === 0 || id > ids[i - 1]!, 'in order, and once')
  }

  /** The process dies: what was not durable may be gone, unless somebody was told that it is safe. */
  async restart(): Promise<void> {
    const { troubles } = this.#disk
    this.#checkOrder()
    this.#holder = undefined
    this.#queue.close()
    this.#queues = this.#start()
    troubles.failWrites = true
    troubles.failDeletes = true
    troubles.writes.open()
    await settled()
    this.#queue = await this.#queues.open(KEY)
    const left = new Set((await this.#queue.peek(100)).map(({ bytes }) => / id='(m\d+)'/.exec(bytes.toString())![1]!))
    for (const [id, { safe }] of [...this.#open]) {
      if (left.has(id)) continue
      assert.ok(!safe, `${id} was said to be safe and is gone`)
      this.#open.delete(id)
      this.#ended.set(id, 'bounced')
    }
    for (const id of left) assert.ok(this.#open.has(id), `${id} is there again`)
    await settled()
  }

  check(): void {
    assert.equal(this.#queue.messages, this.#open.size)
    assert.equal(this.#queues.total.messages, this.#open.size)
    assert.equal(this.#queues.senders.size, new Set([...this.#open.values()].map(({ from }) => from)).size)
  }

  /** Somebody takes all there is: nothing is left, of the counts neither. */
  async finish(): Promise<void> {
    const { troubles } = this.#disk
    troubles.failWrites = false
    troubles.writes.open()
    await settled()
    this.#leave()
    await settled()
    this.#holder = new FakeHolder()
    await this.#queue.attach(this.#holder)
    await settled()
    this.#confirm(100)
    assert.equal(this.#open.size, 0)
    this.check()
    this.#leave()
    assert.equal(this.#queue.idle, true)
    await settled()
    assert.deepEqual(await this.#queues.keys(), [])
    this.#queue.close()
  }
}

test('whatever comes, goes and fails: each message ends once, the counts are those of what waits', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async steps => {
      const world = new World()
      await world.begin()
      for (const step of steps) {
        await world.take(step)
        world.check()
      }
      await world.finish()
    }),
  )
})
