import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Answers, type Reader } from '../../../src/archive/answers.ts'
import { readQuery } from '../../../src/archive/query.ts'
import { answerQuery, metadata } from '../../../src/archive/results.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import { type Element, findChild, NS, parseElement, textOf } from '../../../src/xml/index.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import { archiveOf } from './support.ts'

const ROOM = Jid.from('balcony@rooms.example.org')

/** A room: no account, no session, no queue. What its occupants say is archived once, under its address. */
function room() {
  const ids = new IdGenerator()
  const store = openMemoryStore()
  const archive = archiveOf(store, ids, ROOM.domain)
  const answers = new Answers()
  return {
    archive,
    async say(nick: string, body: string): Promise<string> {
      const id = ids.ordered()
      const xml = `<message type='groupchat' id='${body}' from='${ROOM}/${nick}'><body>${body}</body></message>`
      await store.commit([archive.add(ROOM, id, ROOM, Buffer.from(xml), parseElement(xml))])
      return id
    },
    /** What an occupant is sent, and told at the end. */
    async ask(fields: string, set = ''): Promise<{ said: string[]; fin: Element }> {
      const said: string[] = []
      const reader: Reader = {
        jid: Jid.from('juliet@example.net/chamber'),
        ended: false,
        full: false,
        room: () => Promise.resolve(true),
        sender: async () => message => {
          const forwarded = findChild(findChild(message.make(), 'result', NS.MAM)!, 'forwarded', NS.FORWARD)!
          said.push(textOf(findChild(findChild(forwarded, 'message', NS.CLIENT)!, 'body')!))
        },
      }
      const query = readQuery(
        parseElement(
          `<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>${fields}</x><set xmlns='http://jabber.org/protocol/rsm'>${set}</set></query>`,
        ),
      )
      const most = { messages: 50, bytes: 1024 * 1024 }
      const { answer } = answers.later(reader, 0, asker => answerQuery(archive, answers, ROOM, query, most, asker))
      return { fin: (await answer) as Element, said }
    },
  }
}

test('a room has an archive, and its occupants read it by pages and by who spoke', async () => {
  const { archive, say, ask } = room()
  const first = await say('Romeo', 'one')
  await say('Nurse', 'two')
  const last = await say('Romeo', 'three')
  const newest = await ask('', '<max>2</max><before/>')
  assert.deepEqual(newest.said, ['two', 'three'])
  assert.equal(newest.fin.attrs['complete'], undefined)
  const of = (nick: string) => ask(`<field var='with'><value>${ROOM}/${nick}</value></field>`)
  assert.deepEqual((await of('Romeo')).said, ['one', 'three'])
  const nobody = await of('Tybalt')
  assert.deepEqual([nobody.said, nobody.fin.attrs['complete']], [[], 'true'])
  const bounds = await metadata(archive, ROOM)
  assert.deepEqual([findChild(bounds, 'start')?.attrs['id'], findChild(bounds, 'end')?.attrs['id']], [first, last])
  await archive.clear(ROOM)
  assert.deepEqual((await ask('')).said, [])
})
