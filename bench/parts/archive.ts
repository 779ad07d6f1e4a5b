/**
 * A page of 50 from archives of different lengths, on LevelDB: `node bench/parts/archive.ts [MESSAGES]`. The long one has a
 * million messages unless told otherwise.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { readPage } from '../../src/archive/page.ts'
import { readQuery } from '../../src/archive/query.ts'
import { openLevelStore } from '../../src/storage/level.ts'
import { IdGenerator } from '../../src/util/ids.ts'
import { parseElement } from '../../src/xml/index.ts'
import { Jid } from '../../src/xmpp/jid.ts'
import { archiveOf } from '../../test/unit/archive/support.ts'

const LONG = Number(process.argv[2] ?? 1_000_000)
const ASKED = 500
const folder = await mkdtemp(path.join(tmpdir(), 'hermod-archive-'))
const store = await openLevelStore(path.join(folder, 'db'))
const ids = new IdGenerator()
const archive = archiveOf(store, ids)

const body = 'x'.repeat(100)
async function fill(owner: Jid, count: number): Promise<string[]> {
  const made: string[] = []
  for (let i = 0; i < count; i++) {
    const id = ids.ordered()
    const peer = Jid.of(`peer${i % 100}`, 'example.org')
    const text = `<message type='chat' id='${i}' from='${peer}/phone' to='${owner}' xml:lang='en'><body>${body}</body><request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/><origin-id xmlns='urn:xmpp:sid:0' id='${i}'/><stanza-id xmlns='urn:xmpp:sid:0' by='${owner}' id='${id}'/></message>`
    void store.commit([archive.add(owner, id, peer, Buffer.from(text), parseElement(text))])
    made.push(id)
    if (i % 5000 === 4999) await store.table('example.org', { name: 'turn' }).put(['x'], [], 1)
  }
  return made
}

function form(fields: string, set: string) {
  return readQuery(
    parseElement(
      `<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>${fields}</x><set xmlns='http://jabber.org/protocol/rsm'><max>50</max>${set}</set></query>`,
    ),
  )
}

for (const [user, count] of [
  ['short', 1000],
  ['long', LONG],
] as const) {
  const start = performance.now()
  const owner = Jid.of(user, 'example.org')
  const made = await fill(owner, count)
  console.log(`${count} messages written in ${((performance.now() - start) / 1000).toFixed(1)} s`)
  const kinds: [string, () => ReturnType<typeof form>][] = [
    ['the last page', () => form('', '<before/>')],
    [
      'a page after some message',
      () => form('', `<after>${made[Math.floor(Math.random() * (made.length - 100))]}</after>`),
    ],
    [
      'the last page with one peer',
      () =>
        form(
          `<field var='with'><value>peer${Math.floor(Math.random() * 100)}@example.org</value></field>`,
          '<before/>',
        ),
    ],
  ]
  for (const [name, make] of kinds) {
    const times: number[] = []
    for (let i = 0; i < ASKED; i++) {
      const query = make()
      const from = performance.now()
      const page = await readPage(archive, owner, query, { messages: 250, bytes: 1024 * 1024 })
      for (const message of page.messages) message.parse()
      times.push(performance.now() - from)
    }
    times.sort((a, b) => a - b)
    const at = (share: number): string => times[Math.floor(times.length * share)]!.toFixed(2).padStart(7)
    console.log(`${name.padEnd(30)} of ${String(count).padStart(8)}: p50 ${at(0.5)} ms  p99 ${at(0.99)} ms`)
  }
}
await store.close()
await rm(folder, { recursive: true })
