import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemoryBlobs } from '../../src/storage/blob-memory.ts'
import { faultyStore } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { online, serve } from '../support/talk.ts'

interface Case {
  /** What Juliet does; it fails. */
  does: (juliet: RawClient) => Promise<unknown>
  /** The table that cannot be written, and those that must agree with it. */
  broken: string
  others: readonly string[]
}

const ask = (payload: string, to?: string) => (juliet: RawClient) => juliet.request('set', payload, to)
const upload = "<request xmlns='urn:xmpp:http:upload:0' filename='a.txt' size='5'/>"
const create = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='n'/></pubsub>"

const CASES: Case[] = [
  {
    does: ask("<query xmlns='jabber:iq:roster'><item jid='romeo@example.net'/></query>"),
    broken: 'roster_version',
    others: ['roster', 'roster_change'],
  },
  {
    does: juliet => juliet.request('get', upload, 'upload.localhost'),
    broken: 'upload_slot',
    others: ['upload', 'upload_day'],
  },
  { does: ask(create, 'pubsub.localhost'), broken: 'pubsub_by_entity', others: ['pubsub_node', 'pubsub_entity'] },
  {
    does: async juliet => {
      await juliet.enable()
      juliet.send("<message to='nurse@localhost' type='chat' id='m'><body>m</body></message>")
      const { attrs } = await juliet.receive(el => el.name === 'message')
      throw new Error(`iq error: ${attrs['type']}`)
    },
    broken: 'archive',
    others: ['queue', 'sent_window'],
  },
]

for (const { does, broken, others } of CASES) {
  test(`where ${broken} cannot be written, nothing is in ${others.join(' and ')} either`, async t => {
    const { store, troubles } = faultyStore({ only: broken })
    const server = await serve(t, { store, http: {}, blobs: openMemoryBlobs(), modules: { mod_http_upload: {} } })
    await server.register('nurse')
    const [juliet] = await online(server, 'juliet')
    troubles.failWrites = true
    await assert.rejects(does(juliet), /iq error/)
    await server.stop()
    for (const name of [broken, ...others]) {
      assert.deepEqual(await store.table('localhost', { name }).partitions(), [], name)
    }
  })
}
