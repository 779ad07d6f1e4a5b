import { openMemoryStore } from '../../src/storage/memory.ts'
import type { Store } from '../../src/storage/store.ts'

const READS = new Set<PropertyKey>(['get', 'scan', 'keys'])
const WRITES = new Set<PropertyKey>(['put', 'batch', 'del'])

/** A store in memory, one table of which cannot be read while `broken` says so, nor written while `full` does. */
export function faultyStore(table: string, broken: () => boolean, full: () => boolean): Store {
  const fail = async (): Promise<never> => {
    throw new Error('the disk is gone')
  }
  const failing = (inner: object): object =>
    new Proxy(inner, {
      get: (target, key) => ((READS.has(key) && broken()) || (WRITES.has(key) && full()) ? fail : bound(target, key)),
    })
  return new Proxy(openMemoryStore(), {
    get: (target, key) => {
      if (key !== 'table') return bound(target, key)
      return (host: string, spec: { name: string }) => {
        const inner = target.table(host, spec)
        return spec.name === table ? failing(inner) : inner
      }
    },
  })
}

function bound(target: object, key: PropertyKey): unknown {
  const value: unknown = Reflect.get(target, key)
  return typeof value === 'function' ? value.bind(target) : value
}
