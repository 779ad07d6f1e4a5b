/**
 * What the LevelDB store costs: CPU of the process (all threads, kernel included) and of the event loop's own thread, and time.
 *
 *     node bench/parts/store.ts [folder]
 */

import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { Level } from 'level'
import { openLevelStore } from '../../src/storage/level.ts'
import type { Store, Table } from '../../src/storage/store.ts'
import { encodeTuple } from '../../src/util/tuple.ts'

/** Of one part, all of its operations together. */
export interface Measure {
  ops: number
  /** Nanoseconds that passed. */
  ns: number
  /** Nanoseconds of CPU of all threads of the process. */
  cpuNs: number
  /** Nanoseconds of CPU of the event loop's thread; 0 where Node cannot tell. */
  loopNs: number
}

export interface Part {
  name: string
  /** In a new folder below this one, removed afterwards. */
  run(folder?: string): Promise<Measure>
}

const VALUE = Buffer.alloc(
  600,
  '<message from="alice@example.org/phone" to="bob@example.org"><body>hello</body></message>',
)
const USERS = 1000

export const parts: Part[] = [
  ...[1, 10, 50, 100].map(size => putThenDelete(size, 'sync')),
  putThenDelete(100, 'async'),
  taken('put and del in one turn of a unique table: never written', 100),
  reading('get (getSync within), a row that is there', table => table.get, 20_000),
  reading('get, a row that is not there', table => (pk, ck) => table.get(pk, [...(ck ?? []), 'no']), 20_000),
  reading('scan of 100 rows', table => pk => table.scan(pk, { limit: 100 }), 500),
  reading('scan of 1 row', table => pk => table.scan(pk, { limit: 1 }), 2000),
  raw('LevelDB getSync', (db, key) => db.getSync(key), 20_000),
  raw('LevelDB get, one after another', (db, key) => db.get(key), 5000),
  tuples(),
  fsync(),
]

/** Messages of 600 bytes come `size` a turn, each is written, then deleted when all of its turn are safe. */
function putThenDelete(size: number, durability: 'sync' | 'async'): Part {
  return {
    name: `put, then del, ${size} a commit, ${durability}`,
    run: folder =>
      withStore(folder, durability, async store => {
        const table = queue(store)
        let id = 0
        const round = async () => {
          const first = id
          const writes: Promise<void>[] = []
          for (let i = 0; i < size; i++) writes.push(table.put([`user${id % USERS}`], [idOf(id++)], VALUE))
          await Promise.all(writes)
          writes.length = 0
          for (let i = first; i < id; i++) writes.push(table.del([`user${i % USERS}`], [idOf(i)]))
          await Promise.all(writes)
        }
        const rounds = Math.ceil((durability === 'sync' ? 10_000 : 20_000) / Math.max(size, 25))
        for (let i = 0; i < rounds / 5; i++) await round()
        return measure(rounds * size, async () => {
          for (let i = 0; i < rounds; i++) await round()
        })
      }),
  }
}

function taken(name: string, size: number): Part {
  return {
    name,
    run: folder =>
      withStore(folder, 'sync', async store => {
        const table = queue(store)
        let id = 0
        const rounds = 500
        return measure(rounds * size, async () => {
          for (let round = 0; round < rounds; round++) {
            const first = id
            let last: Promise<void> | undefined
            for (let i = 0; i < size; i++) last = table.put([`user${id % USERS}`], [idOf(id++)], VALUE)
            for (let i = first; i < id; i++) last = table.del([`user${i % USERS}`], [idOf(i)])
            await last
          }
        })
      }),
  }
}

type Read = (pk: string[], ck?: string[]) => Promise<unknown>

/** Reads of a store of 100,000 rows, 100 in each partition. */
function reading(name: string, choose: (table: Table<Uint8Array>) => Read, ops: number): Part {
  return {
    name,
    run: folder =>
      withStore(folder, 'async', async store => {
        const table = queue(store)
        for (let user = 0; user < USERS; user++) {
          await store.commit(Array.from({ length: 100 }, (_, i) => table.putOp([`user${user}`], [idOf(i)], VALUE)))
        }
        const read = choose(table).bind(table)
        const some = async (count: number) => {
          for (let i = 0; i < count; i++) await read([`user${(i * 7919) % USERS}`], [idOf(i % 100)])
        }
        await some(ops / 4)
        return measure(ops, () => some(ops))
      }),
  }
}

function raw(name: string, read: (db: Level<string, Buffer>, key: string) => unknown, ops: number): Part {
  return {
    name,
    run: folder =>
      withFolder(folder, async path => {
        const db = new Level<string, Buffer>(path, { valueEncoding: 'buffer', cacheSize: 32 * 1024 * 1024 })
        const key = (i: number) => encodeTuple(['example.org', 'queue', `user${(i * 7919) % USERS}`, idOf(i % 100)])
        for (let i = 0; i < USERS * 100; i += 1000) {
          await db.batch(Array.from({ length: 1000 }, (_, j) => ({ type: 'put', key: key(i + j), value: VALUE })))
        }
        for (let i = 0; i < ops / 4; i++) await read(db, key(i))
        const result = await measure(ops, async () => {
          for (let i = 0; i < ops; i++) await read(db, key(i))
        })
        await db.close()
        return result
      }),
  }
}

function tuples(): Part {
  return {
    name: 'encode a key [user, id]',
    async run() {
      const ops = 1_000_000
      let length = 0
      const some = async (count: number) => {
        for (let i = 0; i < count; i++)
          length += encodeTuple(['alice.liddell', '01935f3c-89ab-7def-8123-456789abcdef']).length
      }
      await some(ops / 10)
      const result = await measure(ops, () => some(ops))
      if (length === 0) throw new Error('nothing was encoded')
      return result
    },
  }
}

/** The floor below every commit: 4 KiB appended to a file and synced. */
function fsync(): Part {
  return {
    name: 'fsync of a file alone',
    run: folder =>
      withFolder(folder, async path => {
        const file = await open(join(path, 'file'), 'a')
        const block = Buffer.alloc(4096)
        const result = await measure(200, async () => {
          for (let i = 0; i < 200; i++) {
            await file.write(block)
            await file.datasync()
          }
        })
        await file.close()
        return result
      }),
  }
}

function queue(store: Store): Table<Uint8Array> {
  return store.table<Uint8Array>('example.org', { name: 'queue', codec: 'bytes', unique: true })
}

function idOf(i: number): string {
  return `01935f3c-89ab-7def-${String(i).padStart(12, '0')}`
}

async function measure(ops: number, work: () => Promise<void>): Promise<Measure> {
  const thread = () => (process.threadCpuUsage ? sum(process.threadCpuUsage()) : 0)
  const [start, cpu, loop] = [performance.now(), sum(process.cpuUsage()), thread()]
  await work()
  return {
    ops,
    ns: (performance.now() - start) * 1e6,
    cpuNs: (sum(process.cpuUsage()) - cpu) * 1000,
    loopNs: (thread() - loop) * 1000,
  }
}

function sum({ user, system }: NodeJS.CpuUsage): number {
  return user + system
}

async function withStore<T>(
  folder: string | undefined,
  durability: 'sync' | 'async',
  work: (store: Store) => Promise<T>,
): Promise<T> {
  return withFolder(folder, async path => {
    const store = await openLevelStore(path, { durability })
    try {
      return await work(store)
    } finally {
      await store.close()
    }
  })
}

async function withFolder<T>(folder: string | undefined, work: (path: string) => Promise<T>): Promise<T> {
  const path = await mkdtemp(join(folder ?? tmpdir(), 'hermod-bench-'))
  try {
    return await work(path)
  } finally {
    await rm(path, { recursive: true })
  }
}

if (import.meta.main) {
  console.log(`${'µs of each'.padEnd(60)}${'CPU'.padStart(9)}${'loop'.padStart(9)}${'time'.padStart(10)}`)
  for (const { name, run } of parts) {
    const { ops, ns, cpuNs, loopNs } = await run(process.argv[2])
    const cell = (value: number, width: number) => (value / ops / 1000).toFixed(2).padStart(width)
    console.log(`${name.padEnd(60)}${cell(cpuNs, 9)}${cell(loopNs, 9)}${cell(ns, 10)}`)
  }
}
