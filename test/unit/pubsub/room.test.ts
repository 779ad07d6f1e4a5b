import assert from 'node:assert/strict'
import { test } from 'node:test'
import { serviceDefaults } from '../../../src/pubsub/config.ts'
import { createEngine, type Service } from '../../../src/pubsub/engine.ts'
import type { Owner } from '../../../src/pubsub/place.ts'
import { answer } from '../../../src/pubsub/requests.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import { type Element, NS, parseElement } from '../../../src/xml/index.ts'
import { StanzaError } from '../../../src/xmpp/errors.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import { Stanza } from '../../../src/xmpp/stanza.ts'
import { silent } from '../core/support.ts'

const ROOM = Jid.from('balcony@rooms.example.org')
const JULIET = Jid.from('juliet@example.org/chamber')
const ROMEO = Jid.from('romeo@example.net/orchard')
const TYBALT = Jid.from('tybalt@example.org/street')

/** A room with nodes of its own: its occupants are its contacts, and hear of everything. No account, no host. */
function room(...occupants: Jid[]) {
  const heard: string[] = []
  const limits = { items: 10, payload: 1000, expire: Number.POSITIVE_INFINITY }
  const store = openMemoryStore()
  const engine = createEngine({
    log: silent,
    ids: new IdGenerator(),
    now: Date.now,
    commit: ops => store.commit(ops),
    tables: {
      nodes: store.table('rooms.example.org', { name: 'node' }),
      items: store.table('rooms.example.org', { name: 'item' }),
      entities: store.table('rooms.example.org', { name: 'entity' }),
      byEntity: store.table('rooms.example.org', { name: 'by_entity' }),
    },
    limits,
    maxNodes: 2,
    maxBytes: 10_000,
    maxSubscriptions: 10,
    contactsOf: () => Promise.resolve(undefined),
    fanout: { send: (_key, { el, from }, to) => void heard.push(...to.map(jid => `${from} to ${jid}: ${el}`)) },
    route: stanza => void heard.push(stanza.toString()),
  })
  const isOccupant = (jid: Jid): boolean => occupants.some(one => one.bare.equals(jid.bare))
  const owner: Owner = {
    jid: ROOM,
    groups: jid => (isOccupant(jid) ? [] : undefined),
    blocks: () => false,
    listeners: () => occupants,
    publishing: (_node, item) => Promise.resolve({ ...item, id: 'current' }),
    published: (node, { id }) => void heard.push(`published ${node} ${id}`),
    retracted: (node, ids) => void (ids.length > 0 && heard.push(`retracted ${node} ${ids}`)),
    reading: (_node, items) => items,
  }
  const defaults = { ...serviceDefaults(limits), access_model: 'presence', publish_model: 'open' } as const
  const mayCreate = (jid: Jid): boolean => jid.bare.equals(JULIET.bare)
  const service: Service = { engine, jid: ROOM, shelf: engine.store.shelf(ROOM.local, defaults), owner, mayCreate }
  return {
    heard,
    ask(from: Jid, type: 'get' | 'set', content: string, ns: string = NS.PUBSUB): Promise<Element | undefined> {
      const payload = parseElement(`<pubsub xmlns='${ns}'>${content}</pubsub>`)
      const stanza = Stanza.of(parseElement(`<iq type='${type}' id='1' from='${from}' to='${ROOM}'>${payload}</iq>`))
      return answer(service, { stanza, from, payload })
    },
  }
}

const refused = (condition: string) => (error: unknown) => error instanceof StanzaError && error.condition === condition
const TOPIC = "<publish node='topic'><item><topic xmlns='urn:example:topic'>Names</topic></item></publish>"

test('a room keeps nodes of its own: its occupants publish, hear and read, strangers do not', async () => {
  const { heard, ask } = room(JULIET, ROMEO)
  await assert.rejects(ask(ROMEO, 'set', TOPIC), refused('forbidden'), 'he may not make a node')
  await ask(JULIET, 'set', "<create node='topic'/>")
  await ask(ROMEO, 'set', TOPIC)
  assert.equal(heard.shift(), 'published topic current')
  assert.deepEqual(
    heard.splice(0).map(line => line.slice(0, line.indexOf(':'))),
    [`${ROOM} to ${JULIET}`, `${ROOM} to ${ROMEO}`],
  )
  assert.match(String(await ask(JULIET, 'get', "<items node='topic'/>")), /<item id="current"[^>]*><topic [^>]*>Names</)
  await assert.rejects(ask(TYBALT, 'get', "<items node='topic'/>"), refused('not-authorized'))
  await assert.rejects(ask(JULIET, 'get', "<configure node='topic'/>", NS.PUBSUB_OWNER), refused('forbidden'))
  await ask(ROMEO, 'set', "<retract node='topic' notify='true'><item id='current'/></retract>")
  assert.equal(heard.shift(), 'retracted topic current')
  assert.equal(heard.length, 2, 'both are told')
})
