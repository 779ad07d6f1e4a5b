import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { StoreError } from '../../../src/storage/store.ts'
import { collect, from, HOST, numbers, type Open, stores, TRICKY } from './support.ts'

export function whole(open: Open): void {
  test('a dump loads into an empty store of any driver', async t => {
    const store = await open(t)
    const other = openMemoryStore()
    const fresh = await open(t)
    for (const [i, host] of TRICKY.entries()) {
      await store.table<string>(host, { name: 't' }).put([host, i], [i, host], host)
      await store.table<Uint8Array>(host, { name: 'b', codec: 'bytes' }).put([], [], Buffer.alloc(i * 30_000, i))
    }
    await other.load(store.dump())
    await fresh.load(other.dump())
    for (const copy of [other, fresh]) {
      for (const [i, host] of TRICKY.entries()) {
        assert.deepEqual(await copy.table<string>(host, { name: 't' }).scan([host, i]), [
          { ck: [i, host], value: host },
        ])
        assert.deepEqual(
          await copy.table<Uint8Array>(host, { name: 'b', codec: 'bytes' }).get([]),
          Buffer.alloc(i * 30_000, i),
        )
      }
    }
    assert.deepEqual(await collect(fresh.dump()), await collect(store.dump()))
    await assert.rejects(fresh.load(store.dump()), /not empty/)
  })

  test('a dump is of one moment, with the writes before it', async t => {
    const table = await numbers(t, open, 500)
    const store = stores.get(table)!
    const pending = table.put(['p'], ['before'], 'x')
    const chunks: Uint8Array[] = []
    for await (const chunk of store.dump()) {
      if (chunks.length === 0) await table.put(['p'], ['during'], 'x')
      chunks.push(chunk)
    }
    await pending
    const copy = openMemoryStore()
    await copy.load(from(chunks))
    const found = await copy.table(HOST, { name: 't' }).scan(['p'])
    assert.equal(found.length, 501)
    assert.deepEqual(found.at(-1)!.ck, ['before'])
  })

  test('a dump that is cut or changed leaves the store empty', async t => {
    const source = openMemoryStore()
    const rows = source.table<string>(HOST, { name: 't' })
    for (let i = 0; i < 100; i++) await rows.put(['p'], [i], `value ${i}`)
    const dump = Buffer.from(await collect(source.dump()))
    const store = await open(t)
    const table = store.table<string>(HOST, { name: 't' })
    const changed = Buffer.from(dump)
    changed[dump.length >> 1]! ^= 1
    const lost = Buffer.concat([dump.subarray(0, 200), dump.subarray(300)])
    for (const bad of [
      dump.subarray(0, -1),
      dump.subarray(0, 1000),
      Buffer.concat([dump, Buffer.from('x')]),
      changed,
      lost,
      Buffer.alloc(0),
      Buffer.from('hermod dump 9\n'),
    ]) {
      await assert.rejects(store.load(from([bad])), StoreError)
      assert.deepEqual(await table.partitions(), [])
    }
    // However the bytes are cut.
    await store.load(from(Array.from(dump, byte => Uint8Array.of(byte))))
    assert.equal((await table.scan(['p'])).length, 100)
  })

  test('close waits for writes; after it everything is refused', async t => {
    const store = await open(t)
    const table = store.table<string>(HOST, { name: 't' })
    let done = false
    const write = table.put(['p'], [], 'x').then(() => (done = true))
    await store.close()
    assert.ok(done)
    await write
    await store.close()
    for (const call of [
      () => table.get(['p']),
      () => table.put(['p'], [], 'y'),
      () => table.putIfAbsent(['p'], [], 'y'),
      () => table.del(['p']),
      () => table.scan(['p']),
      () => store.commit([]),
      () => table.clear(['p']),
      () => table.partitions(),
      () => store.load(from([])),
      () => collect(store.dump()),
    ]) {
      await assert.rejects(call, (error: unknown) => error instanceof StoreError && !error.retry)
    }
  })
}
