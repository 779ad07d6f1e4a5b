import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pepDefaults } from '../../../src/pubsub/config.ts'
import type { StoredItem } from '../../../src/pubsub/itemstore.ts'
import type { Node, StoredEntity, StoredNode } from '../../../src/pubsub/node.ts'
import { PubsubStore, type Relation } from '../../../src/pubsub/store.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import { Jid } from '../../../src/xmpp/jid.ts'

const DEFAULTS = pepDefaults({ items: 10, payload: 1000, expire: 1000 })
const KIB = 'x'.repeat(900)

function setup(memory: number) {
  let now = 0
  const database = openMemoryStore()
  const tables = {
    nodes: database.table<StoredNode>('h', { name: 'n' }),
    items: database.table<StoredItem | string>('h', { name: 'i' }),
    entities: database.table<StoredEntity>('h', { name: 'e' }),
    byEntity: database.table<Relation>('h', { name: 'b' }),
  }
  const store = new PubsubStore(database, tables, new IdGenerator(), () => now, memory)
  const shelf = store.shelf('alice', DEFAULTS)
  const alice = Jid.from('alice@h')
  /** A node with so many members, of a KiB each, about. */
  const make = async (name: string, members: number): Promise<Node> => {
    const { node, saved } = store.create(shelf, name, DEFAULTS, alice, 0)
    await saved
    for (let i = 0; i < members; i++) await store.affiliate(shelf, node, Jid.from(`${i}${KIB}@h`), 'member')
    return node
  }
  return { store, shelf, make, wait: (ms: number) => (now += ms) }
}

test('beyond its memory a host forgets who is what to nodes that nobody uses, and reads it again', async () => {
  const { store, shelf, make, wait } = setup(10_000)
  const nodes: Node[] = []
  for (let i = 0; i < 5; i++) {
    nodes.push(await make(`n${i}`, 3))
    wait(20_000)
  }
  // What is made is in memory in any case; the next that is read makes room.
  await store.entities(shelf, nodes[0]!)
  nodes[4]!.forgetEntities()
  await store.entities(shelf, nodes[4]!)
  assert.ok(store.memory <= 13_000, `${store.memory}`)
  assert.equal(nodes[1]!.affiliations.size, 0)
  assert.equal(nodes[0]!.affiliations.size, 3, 'used just now')
  await store.entities(shelf, nodes[1]!)
  assert.equal(nodes[1]!.affiliations.size, 3)
  assert.equal(shelf.nodes.get('n1'), nodes[1], 'the node is the same for all')
})

test('where all are in use, twice as much is the end, until they are not', async () => {
  const { store, shelf, make, wait } = setup(4000)
  const nodes = [await make('a', 3), await make('b', 3), await make('c', 3)]
  const [a, b, c] = nodes as [Node, Node, Node]
  assert.ok(store.memory > 8000)
  wait(20_000)
  const other = await make('d', 0)
  await store.entities(shelf, other)
  wait(20_000)
  for (const node of [a, b, c]) await store.entities(shelf, node)
  await make('e', 3)
  const late = (await store.node(shelf, 'd'))!
  late.forgetEntities()
  assert.ok(store.memory > 8000)
  await assert.rejects(async () => store.entities(shelf, late), { condition: 'resource-constraint' })
  wait(20_000)
  await store.entities(shelf, late)
  assert.equal(late.entities, 'loaded')
  // What has gone is not counted.
  for (const name of ['a', 'b', 'c', 'e']) {
    const node = (await store.node(shelf, name))!
    await store.delete(shelf, node)
  }
  assert.equal(store.memory, 0)
})
