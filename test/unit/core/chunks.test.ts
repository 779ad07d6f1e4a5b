import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Chunks, type Span } from '../../../src/core/chunks.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'

const ROMEO = 'romeo@localhost'
const JULIET = 'juliet'
type Item = readonly [id: string, n: number]

function id(n: number): string {
  return String(n).padStart(6, '0')
}

function items(from: number, to: number): Item[] {
  return Array.from({ length: to - from }, (_, i) => [id(from + i), from + i])
}

async function world() {
  const store = openMemoryStore()
  const table = store.table<readonly Item[]>('localhost', { name: 'chunks' })
  const chunks = new Chunks(store, table)
  await chunks.put(JULIET, ROMEO, items(0, 250).reverse())
  for (let n = 250; n < 300; n++) await chunks.put(JULIET, ROMEO, items(n, n + 1))
  await chunks.put(JULIET, 'romeo@localhost.example', items(7, 8))
  await chunks.put('nurse', ROMEO, items(8, 9))
  const read = async (span: Partial<Span>) =>
    (await chunks.read(JULIET, ROMEO, { backwards: false, limit: 1000, ...span })).map(([, n]) => n)
  return { chunks, table, read }
}

async function all(names: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = []
  for await (const name of names) found.push(name)
  return found
}

function numbers(from: number, to: number): number[] {
  return items(from, to).map(([, n]) => n)
}

test('all of one group, from either end; of nobody else', async () => {
  const { chunks, read } = await world()
  assert.deepEqual(await read({}), numbers(0, 300))
  assert.deepEqual(await read({ backwards: true }), numbers(0, 300).reverse())
  assert.deepEqual(await all(chunks.groups(JULIET)), [ROMEO, 'romeo@localhost.example'])
  assert.deepEqual(await all(chunks.owners()), [JULIET, 'nurse'])
})

test('many items lie in few rows', async () => {
  const { table } = await world()
  assert.equal((await table.scan([JULIET])).length, 3 + 50 + 1)
})

test('every span, whatever lies at its ends', async () => {
  const { read } = await world()
  const ends = [undefined, 0, 99, 100, 101, 199, 200, 249, 250, 251, 298, 299, 300]
  for (const low of ends) {
    for (const high of ends) {
      const from = low ?? 0
      const to = high ?? 300
      const span = { before: high === undefined ? undefined : id(high) }
      assert.deepEqual(await read({ ...span, from: low === undefined ? undefined : id(low) }), numbers(from, to))
      const after = low === undefined ? undefined : id(low)
      const rest = numbers(low === undefined ? 0 : low + 1, to)
      assert.deepEqual(await read({ ...span, after }), rest)
      assert.deepEqual(await read({ ...span, after, backwards: true }), rest.toReversed())
      assert.deepEqual(await read({ ...span, after, limit: 3 }), rest.slice(0, 3))
      assert.deepEqual(await read({ ...span, after, limit: 3, backwards: true }), rest.toReversed().slice(0, 3))
    }
  }
})

test('a purge takes the older part of a chunk and leaves the newer', async () => {
  const { chunks, read } = await world()
  await chunks.put(JULIET, ROMEO, items(300, 5000))
  assert.equal(await chunks.purge(JULIET, id(4321)), 4321 + 1)
  assert.deepEqual(await all(chunks.groups(JULIET)), [ROMEO])
  assert.deepEqual(await read({ limit: 10_000 }), numbers(4321, 5000))
  assert.equal(await chunks.purge(JULIET, id(4321)), 0)
})
