import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StoreError } from '../../../src/storage/store.ts'
import { HOST, type Open } from './support.ts'

export function values(open: Open): void {
  test('JSON values come back equal and are the reader’s own', async t => {
    const store = await open(t)
    const table = store.table<unknown>(HOST, { name: 'json' })
    const all = [null, 0, -1.5, '', 'é😀\0\ud800', true, [], [1, [2]], { a: { b: [null] }, '': 'x' }]
    for (const [i, value] of all.entries()) await table.put(['p'], [i], value)
    for (const [i, value] of all.entries()) assert.deepEqual(await table.get(['p'], [i]), value)
    const mine = { list: [1] }
    const write = table.put(['p'], ['mine'], mine)
    mine.list.push(2)
    const read = (await table.get(['p'], ['mine'])) as typeof mine
    read.list.push(3)
    await write
    assert.deepEqual(await table.get(['p'], ['mine']), { list: [1] })
    await assert.rejects(table.put(['p'], ['no'], undefined), /JSON cannot hold/)
    assert.equal(await table.get(['p'], ['no']), undefined)
  })

  test('bytes come back as a Buffer of their own', async t => {
    const store = await open(t)
    const table = store.table<Uint8Array>(HOST, { name: 'bytes', codec: 'bytes' })
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    await table.put(['p'], ['every'], every)
    await table.put(['p'], ['none'], Buffer.alloc(0))
    const changing = Buffer.from('before')
    const write = table.put(['p'], ['changing'], changing)
    changing.write('AFTER!')
    const pending = await table.get(['p'], ['changing'])
    pending!.fill(0)
    await write
    for (const [key, value] of [
      ['every', every],
      ['none', Buffer.alloc(0)],
      ['changing', Buffer.from('before')],
    ] as const) {
      const found = await table.get(['p'], [key])
      assert.ok(Buffer.isBuffer(found))
      assert.deepEqual(found, value)
      found.fill(7)
      assert.deepEqual(await table.get(['p'], [key]), value)
    }
    assert.deepEqual(
      (await table.scan(['p'])).map(row => row.value.length),
      [6, 256, 0],
    )
    await assert.rejects(table.put(['p'], ['text'], 'text' as unknown as Uint8Array), /not bytes/)
  })

  test('values of a megabyte, and none above the limit', async t => {
    const store = await open(t)
    const bytes = store.table<Uint8Array>(HOST, { name: 'bytes', codec: 'bytes' })
    const big = Buffer.alloc(1024 * 1024, 'abc')
    const json = store.table<string>(HOST, { name: 'json' })
    const text = 'é'.repeat(512 * 1024)
    await Promise.all([bytes.put(['p'], [1], big), json.put(['p'], [1], text)])
    assert.ok(big.equals((await bytes.get(['p'], [1]))!))
    assert.equal(await json.get(['p'], [1]), text)
    assert.ok(big.equals((await bytes.scan(['p']))[0]!.value))
    await assert.rejects(bytes.put(['p'], [2], Buffer.alloc(16 * 1024 * 1024 + 1)), /at most 16777216/)
    await assert.rejects(json.put(['p'], [2], 'x'.repeat(16 * 1024 * 1024)), /at most 16777216/)
  })

  test('old versions are migrated when read, newer ones refused', async t => {
    const store = await open(t)
    await store.table<string>(HOST, { name: 't', version: 1 }).put(['p'], [1], 'Alice')
    const calls: unknown[] = []
    const migrate = (value: unknown, version: number) => {
      calls.push([value, version])
      return { name: String(value) }
    }
    const today = store.table<{ name: string }>(HOST, { name: 't', version: 3, migrate })
    await today.put(['p'], [2], { name: 'Bob' })
    assert.deepEqual(await today.get(['p'], [1]), { name: 'Alice' })
    assert.deepEqual(
      (await today.scan(['p'])).map(row => row.value.name),
      ['Alice', 'Bob'],
    )
    assert.deepEqual(calls, [
      ['Alice', 1],
      ['Alice', 1],
    ])
    const refused = (error: unknown) => error instanceof StoreError && !error.retry
    await assert.rejects(store.table(HOST, { name: 't', version: 1 }).get(['p'], [2]), refused)
    await assert.rejects(store.table(HOST, { name: 't', version: 4 }).scan(['p']), refused)
    for (const version of [-1, 128, 1.5]) assert.throws(() => store.table(HOST, { name: 't', version }), TypeError)
    const bytes = store.table<Uint8Array>(HOST, { name: 'b', codec: 'bytes', version: 0 })
    await bytes.put(['p'], [], Buffer.from('raw'))
    const grown = store.table<Uint8Array>(HOST, {
      name: 'b',
      codec: 'bytes',
      version: 1,
      migrate: value => Buffer.from(`${value}!`),
    })
    assert.equal(String(await grown.get(['p'])), 'raw!')
  })
}
