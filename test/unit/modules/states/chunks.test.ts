import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Chunk, Chunks, type StateRow } from '../../../../src/modules/states/chunks.ts'
import { openMemoryStore } from '../../../../src/storage/memory.ts'

const ROMEO = 'romeo@localhost'
const JULIET = 'juliet@localhost'

function row(n: number): StateRow {
  return { id: String(n).padStart(6, '0'), messageId: `m${n}`, deliveredAt: n, resource: 'phone' }
}

function rows(from: number, to: number): StateRow[] {
  return Array.from({ length: to - from }, (_, i) => row(from + i))
}

async function read(chunks: Chunks, from: string): Promise<StateRow[]> {
  const found: StateRow[] = []
  for await (const page of chunks.backwards(JULIET, from)) found.push(...page)
  return found
}

test('what was written in any order is read newest first, of one sender', async () => {
  const chunks = new Chunks(openMemoryStore().table<Chunk>('localhost', { name: 'states' }))
  await chunks.put(JULIET, ROMEO, rows(0, 250).reverse())
  for (let n = 250; n < 300; n++) await chunks.put(JULIET, ROMEO, [row(n)])
  await chunks.put(JULIET, 'romeo@localhost.example', [row(7)])
  await chunks.put('nurse@localhost', ROMEO, [row(8)])
  assert.deepEqual(await read(chunks, ROMEO), rows(0, 300).reverse())
  assert.deepEqual(await chunks.senders(JULIET), [ROMEO, 'romeo@localhost.example'])
})

test('a purge takes the older part of a chunk and leaves the newer', async () => {
  const chunks = new Chunks(openMemoryStore().table<Chunk>('localhost', { name: 'states' }))
  await chunks.put(JULIET, ROMEO, rows(0, 5000))
  assert.equal(await chunks.purge(JULIET, ROMEO, row(4321).id), 4321)
  assert.deepEqual(await read(chunks, ROMEO), rows(4321, 5000).reverse())
  assert.equal(await chunks.purge(JULIET, ROMEO, row(4321).id), 0)
})
