import { openMemoryStore } from '../../src/storage/memory.ts'
import { type Op, type Store, StoreError, type Table, type TableSpec } from '../../src/storage/store.ts'

/** A door that calls wait at while it is closed. */
export class Gate {
  #open = Promise.withResolvers<void>()
  #closed = false
  #next: Promise<void> | undefined
  /** Calls that have come to the door so far. */
  calls = 0

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#open = Promise.withResolvers<void>()
  }

  open(): void {
    this.#closed = false
    this.#open.resolve()
  }

  /** Only the next call waits, until the function that comes back is called. */
  holdNext(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#next = promise
    return resolve
  }

  async pass(): Promise<void> {
    this.calls++
    const next = this.#next
    this.#next = undefined
    await next
    if (this.#closed) await this.#open.promise
  }
}

interface Troubles {
  /** Writes are durable only when it opens; reads see them at once, as the contract says. */
  readonly writes: Gate
  /** Reads answer, with what they saw when they began, when it opens. */
  readonly reads: Gate
  failWrites: boolean
  failReads: boolean
  failDeletes: boolean
  /** Writes done so far. */
  written: number
}

/** A thing with other answers to some calls. */
export function over<T extends object>(inner: T, changes: Partial<T>): T {
  return new Proxy(inner, {
    get(target, key) {
      if (key in changes) return changes[key as keyof T]
      const member: unknown = Reflect.get(target, key)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

/** A store in memory that outlives its server: the next one that has it finds what was kept. */
export function lastingStore(): Store {
  return over(openMemoryStore(), { close: async () => {} })
}

/** A store in memory whose disk is slow, full or broken on demand: all its tables or those of one name. It outlives its server. */
export function faultyStore({ only, inner = openMemoryStore() }: { only?: string; inner?: Store } = {}): {
  store: Store
  troubles: Troubles
} {
  const troubles = noTroubles()
  /** Of the rows of commits, what takes a put back, and those of the tables in trouble. */
  const undo = new WeakMap<Op, Op>()
  const concerned = new WeakSet<Op>()
  const store = over<Store>(inner, {
    table: <V>(host: string, spec: TableSpec<V>) => {
      const table = inner.table<V>(host, spec)
      const faulty = only === undefined || spec.name === only
      return over(faulty ? faultyTable(table, troubles).table : table, {
        putOp: (pk, ck, value) => {
          const op = table.putOp(pk, ck, value)
          undo.set(op, table.delOp(pk, ck))
          if (faulty) concerned.add(op)
          return op
        },
        delOp: (pk, ck) => {
          const op = table.delOp(pk, ck)
          if (faulty) concerned.add(op)
          return op
        },
      })
    },
    commit: async ops => {
      const rows = ops.filter(op => concerned.has(op))
      const commit = () => inner.commit(ops)
      if (rows.some(op => undo.has(op))) {
        return write(troubles, commit, () => inner.commit(ops.flatMap(op => undo.get(op) ?? [])))
      }
      if (rows.length > 0 && troubles.failDeletes) throw new StoreError('no space left')
      await commit()
    },
    close: async () => {},
  })
  return { store, troubles }
}

function noTroubles(): Troubles {
  const calm = { failWrites: false, failReads: false, failDeletes: false, written: 0 }
  return { ...calm, writes: new Gate(), reads: new Gate() }
}

async function write<T>(troubles: Troubles, run: () => Promise<T>, undo: () => Promise<unknown>): Promise<T> {
  if (troubles.failWrites) throw new StoreError('no space left')
  const done = run()
  await troubles.writes.pass()
  if (troubles.failWrites) {
    await undo()
    throw new StoreError('no space left')
  }
  troubles.written++
  return done
}

/** The same for one table. */
export function faultyTable<V>(table: Table<V>, troubles = noTroubles()): { table: Table<V>; troubles: Troubles } {
  async function read<T>(answer: Promise<T>): Promise<T> {
    const seen = await answer
    await troubles.reads.pass()
    if (troubles.failReads) throw new StoreError('a read failed')
    return seen
  }
  const faulty = over(table, {
    get: (pk, ck) => read(table.get(pk, ck)),
    scan: (pk, range) => read(table.scan(pk, range)),
    keys: (pk, range) => read(table.keys(pk, range)),
    put: (pk, ck, value) =>
      write(
        troubles,
        () => table.put(pk, ck, value),
        () => table.del(pk, ck),
      ),
    putIfAbsent: (pk, ck, value) =>
      write(
        troubles,
        () => table.putIfAbsent(pk, ck, value),
        async () => {},
      ),
    async del(pk, ck) {
      if (troubles.failDeletes) throw new StoreError('no space left')
      await table.del(pk, ck)
    },
  })
  return { table: faulty, troubles }
}
