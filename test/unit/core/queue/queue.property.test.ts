import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPointer, QUEUE } from '../../../../src/core/queue/store.ts'
import { openMemoryStore } from '../../../../src/storage/memory.ts'
import type { TableSpec } from '../../../../src/storage/store.ts'
import { faultyStore } from '../../../support/faultystore.ts'
import { fc } from '../../../support/property.ts'
import { settled } from '../../../support/waiting.ts'
import { FakeHolder, FakeOrigin, queueOver, send as sendTo } from '../support.ts'

type Step =
  | { do: 'send'; waited: boolean; archived: boolean }
  | { do: 'attach'; limit: number }
  | { do: 'confirm' | 'leave' | 'detach' | 'reattach'; who: number; count: number }
  | { do: 'wait' | 'slow disk' | 'slow reads' | 'fast' | 'restart' | 'kill' }

const who = fc.nat({ max: 3 })
const count = fc.integer({ min: 1, max: 4 })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ do: fc.constant('send' as const), waited: fc.boolean(), archived: fc.boolean() }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('attach' as const), limit: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('confirm' as const), who, count }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('leave' as const, 'detach', 'reattach'), who, count }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('slow disk' as const, 'slow reads', 'fast') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('restart' as const, 'kill') }) },
)

const send = { do: 'send' as const, waited: false, archived: false }
const attach = (limit: number): Step => ({ do: 'attach', limit })
const confirm = (who: number, count: number): Step => ({ do: 'confirm', who, count })

/** What was found wrong once: a page that had nothing let a session go on behind what was only in memory. */
const FOUND: [Step[]][] = [
  [
    [
      ...[attach(1), send, send, attach(3), send, attach(6), send, send, send, confirm(1, 1), send, send],
      { do: 'wait' },
      { do: 'detach', who: 1, count: 1 },
      { do: 'reattach', who: 1, count: 1 },
      confirm(1, 1),
    ],
  ],
  // What left memory for the store while a page was read was in neither.
  [
    [
      ...[send, { do: 'wait' as const }, attach(2), { do: 'wait' as const }, send, { do: 'slow reads' as const }, send],
      ...[attach(3), { do: 'leave' as const, who: 0, count: 1 }, { do: 'fast' as const }, send, send, confirm(0, 1)],
      { do: 'detach', who: 0, count: 1 },
      { do: 'reattach', who: 0, count: 1 },
    ],
  ],
  [[attach(1), attach(5), send, send, send, send, attach(4), send, attach(2), confirm(3, 2), send]],
  [[send, attach(1), attach(4), attach(1), attach(2), send, send, send, confirm(3, 2), send, send]],
]

const ARCHIVE: TableSpec<Buffer> = { name: 'archive', codec: 'bytes' }

/** One account's queue with its sessions, over a store that outlives it. */
class World {
  readonly #inner = openMemoryStore()
  #run = this.#start('')
  readonly holders: FakeHolder[] = []
  readonly #attached = new Set<FakeHolder>()
  readonly #everyone: FakeHolder[] = []
  /** Messages that were accepted and that nobody has acknowledged. */
  readonly #open = new Set<string>()
  readonly #origins = new Map<string, FakeOrigin>()
  #serial = 0

  #start(last: string) {
    const { store, troubles } = faultyStore({ inner: this.#inner })
    const archive = store.table('example.org', ARCHIVE)
    return { ...queueOver(store, last, { archived: (key, id) => archive.get(key, [id]) }), archive, troubles }
  }

  async take(step: Step): Promise<void> {
    const { queue, troubles } = this.#run
    switch (step.do) {
      case 'send': {
        const id = `id${String(++this.#serial).padStart(6, '0')}`
        const origin = step.waited ? new FakeOrigin() : undefined
        if (origin !== undefined) this.#origins.set(id, origin)
        this.#open.add(id)
        sendTo(queue, id, [...this.#attached], origin, step.archived ? this.#run.archive : undefined)
        return
      }
      case 'attach': {
        if (this.holders.length >= 4) return
        const holder = new FakeHolder(`holder ${this.#everyone.length}`)
        holder.limit = step.limit
        this.holders.push(holder)
        this.#everyone.push(holder)
        this.#attach(holder)
        return
      }
      case 'wait':
        return settled(2)
      case 'slow disk':
        return troubles.writes.close()
      case 'slow reads':
        return troubles.reads.close()
      case 'fast':
        troubles.writes.open()
        return troubles.reads.open()
      case 'restart':
      case 'kill':
        return this.restart(step.do === 'kill')
    }
    const holder = this.holders[step.who]
    if (holder === undefined) return
    if (step.do === 'confirm') this.#confirm(holder, step.count)
    else if (step.do === 'reattach') this.#attach(holder)
    else this.#attached.delete(holder)
    if (step.do === 'detach') queue.detach(holder)
    if (step.do === 'leave') {
      this.holders.splice(step.who, 1)
      holder.leave(queue)
    }
  }

  #attach(holder: FakeHolder): void {
    this.#attached.add(holder)
    void this.#run.queue.attach(holder)
  }

  #confirm(holder: FakeHolder, count: number): void {
    for (const entry of holder.held.slice(0, count)) this.#open.delete(entry.id)
    holder.confirm(this.#run.queue, count)
  }

  /** The server is killed, or stops in order; all sessions are gone. */
  async restart(kill: boolean): Promise<void> {
    const { queues, troubles } = this.#run
    if (kill) {
      // What was not durable is lost. That is allowed unless its sender was told that it is safe.
      const table = this.#inner.table('example.org', QUEUE)
      troubles.failWrites = true
      troubles.failDeletes = true
      const told = new Set([...this.#origins].filter(([, o]) => o.safeIds.length > 0).map(([id]) => id))
      troubles.writes.open()
      troubles.reads.open()
      await settled()
      const left = new Set<string>()
      for (const { ck, value } of await table.scan(['juliet'])) {
        left.add(String(ck[0]))
        const there = await this.#inner.table('example.org', ARCHIVE).get(['juliet'], ck)
        assert.ok(!isPointer(value) || there !== undefined, `${ck[0]} points to nothing`)
      }
      for (const id of this.#open) {
        if (left.has(id)) continue
        assert.ok(!told.has(id), `${id} was said to be safe and is gone`)
        this.#open.delete(id)
      }
    } else {
      troubles.writes.open()
      troubles.reads.open()
      await settled()
      await queues.flush()
      await settled()
      for (const holder of this.holders) holder.leave(this.#run.queue)
      await settled()
    }
    this.holders.length = 0
    this.#attached.clear()
    const table = this.#inner.table('example.org', QUEUE)
    const [last] = await table.scan(['juliet'], { reverse: true, limit: 1 })
    this.#run = this.#start(last === undefined ? '' : String(last.ck[0]))
  }

  /** Everybody goes, one comes who takes it all: everything that is open reaches it, in order, once. */
  async finish(): Promise<void> {
    await this.restart(false)
    const last = new FakeHolder('last')
    this.#everyone.push(last)
    await this.#run.queue.attach(last)
    assert.deepEqual(last.ids, [...this.#open].sort(), 'what nobody acknowledged is all there, and nothing else')
    for (const { name, ids } of this.#everyone) {
      for (const [i, id] of ids.entries()) {
        assert.ok(i === 0 || id > ids[i - 1]!, `${name} got ${id} after ${ids[i - 1]}: twice, or out of order`)
      }
    }
    last.confirm(this.#run.queue)
    await settled()
    assert.ok(this.#run.queue.size === 0)
    const table = this.#inner.table('example.org', QUEUE)
    assert.deepEqual(await table.scan(['juliet']), [])
  }
}

test('whatever sessions and disks do: nothing is lost, nothing out of order, nothing twice to one session', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async steps => {
      const world = new World()
      for (const step of steps) await world.take(step)
      await world.finish()
    }),
    { examples: FOUND, numRuns: Number(process.env['HERMOD_TEST_RUNS'] ?? 300) },
  )
})
