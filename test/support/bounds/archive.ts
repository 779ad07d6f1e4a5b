import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { query } from '../archive.ts'
import { keep } from '../longarchive.ts'
import { RawClient } from '../rawclient.ts'
import { child } from '../rawxml.ts'
import { refused, serve } from '../talk.ts'
import { eventually } from '../waiting.ts'
import type { Bounds } from './bound.ts'

const ROMEO = 'romeo@localhost/orchard'
const JULIET = 'juliet@localhost'
const MAM = 'urn:xmpp:mam:2'
const RETRACT = 'urn:xmpp:message-retract:1'

function* small(count: number) {
  for (let i = 0; i < count; i++) yield { id: `m${i}`, from: ROMEO, to: JULIET, content: `<body>${i}</body>` }
}

async function aPage(t: TestContext): Promise<void> {
  const server = await serve(t)
  const juliet = await server.client('juliet')
  const ids = await keep(server, 'juliet', small(5100))
  const page = await query(juliet, {}, '<max>10000</max>')
  assert.deepEqual([page.results.length, page.complete, page.last], [250, false, ids[249]])
  const search = await query(juliet, { '{urn:xmpp:fulltext:0}fulltext': '5050' })
  assert.deepEqual([search.results.length, search.complete, search.last], [0, false, ids[4999]])
}

async function largeQuestions(t: TestContext): Promise<void> {
  const server = await serve(t)
  await server.register('juliet')
  await keep(server, 'juliet', small(3))
  await keep(
    server,
    'juliet',
    Array.from({ length: 5 }, () => ({
      id: 'l',
      from: ROMEO,
      to: JULIET,
      content: `<body>${'x'.repeat(250_000)}</body>`,
    })),
  )
  // A client that does not say what it has: its third page waits, and all that it asks after that.
  const options = { port: server.port, domain: 'localhost', user: 'juliet', password: 'secret' }
  const juliet = await RawClient.session({ ...options, autoAck: false, presence: false })
  t.after(() => juliet.cut())
  juliet.setMaxListeners(20)
  const pages = [query(juliet), query(juliet), query(juliet)]
  await pages[0]
  const asked = Array.from({ length: 5 }, () => query(juliet, { ids: ['x'.repeat(100_000)] }).catch(String))
  const [, , third, fourth, fifth] = asked
  assert.match(String(await Promise.race([third, fourth, fifth])), /resource-constraint/)
  juliet.on('asked', () => juliet.ack())
  juliet.ack()
  assert.equal((await Promise.all(pages)).length, 3)
  const answers = await Promise.all(asked)
  assert.equal(answers.filter(answer => String(answer).includes('item-not-found')).length, 2)
  assert.equal(answers.filter(answer => String(answer).includes('resource-constraint')).length, 3)
}

async function aRetractionFarBack(t: TestContext): Promise<void> {
  const server = await serve(t)
  const juliet = await server.client('juliet')
  const romeo = await server.client('romeo', { resource: 'orchard' })
  const ids = await keep(server, 'juliet', small(21_000))
  const retract = async (id: string): Promise<void> => {
    romeo.send(
      `<message to='${JULIET}' type='chat' id='r-${id}'><retract xmlns='${RETRACT}' id='${id}'/><store xmlns='urn:xmpp:hints'/></message>`,
    )
    await romeo.ping()
  }
  const isGone = async (n: number): Promise<boolean> => {
    const { results } = await query(juliet, { ids: [ids[n]!] })
    return child(results[0]!.message, 'retracted', RETRACT) !== undefined
  }
  // One after the other: when the second is gone, the first has had its turn.
  await retract('m200')
  await retract('m1500')
  await eventually(() => isGone(1500), 'the second is gone')
  assert.equal(await isGone(200), false)
}

async function archivePreferences(t: TestContext): Promise<void> {
  const server = await serve(t)
  const juliet = await server.client('juliet')
  const set = (count: number) => {
    const jids = Array.from({ length: count }, (_, n) => `<jid>u${n}@example.org</jid>`).join('')
    return juliet.request('set', `<prefs xmlns='${MAM}' default='always'><always>${jids}</always><never/></prefs>`)
  }
  await set(500)
  await refused('policy-violation', set(501))
}

/** Whether the state of the oldest, and of the newest, of so many messages that wait is known. */
async function knownOf(t: TestContext, count: number, length: number): Promise<(string | undefined)[]> {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  await server.register('juliet')
  for (let n = 0; n < count; n++) {
    romeo.send(`<message to='${JULIET}' type='chat' id='m${n}'><body>${'x'.repeat(length)}</body></message>`)
  }
  await romeo.ping()
  const ns = 'urn:hermod:message-states:0'
  const asked = `<message id='m0'/><message id='m${count - 1}'/>`
  const iq = await romeo.request('get', `<states xmlns='${ns}' with='${JULIET}'>${asked}</states>`)
  return child(iq, 'states', ns)!.children.map(({ attrs }) => attrs['state'])
}

export const BOUNDS: Bounds = {
  'one page of an archive': {
    number: aPage,
    bytes: 'a page ends with the message that makes it large; asked to go on, the client gets all',
  },
  'one page of an inbox': {
    number: 'however many write to somebody: the most recent conversations are listed, the others forgotten',
    bytes: 'the inbox counts without a look at the messages, and tells of so many bytes of them at a time',
  },
  'questions of one session to its archive that wait': {
    number: 'one session asks so many questions at a time',
    bytes: largeQuestions,
  },
  'messages looked at for one that is retracted': { number: aRetractionFarBack, bytes: 'each' },
  'an archive': {
    number: 'of more than max_messages the oldest go, with their places in the conversations',
    bytes: 'of more than max_bytes the oldest go; what a tombstone gave back counts no longer',
  },
  'addresses in archive preferences': { number: archivePreferences, bytes: 'each' },
  'receipts and markers for messages that another server has not acknowledged yet':
    'a map keeps so many entries, of so much weight; what was used last stays',
  'index of conversations, states of messages, in memory': {
    number: 'however much waits for a disk that takes nothing, memory is bounded and nothing is missing in the end',
    bytes: 'each',
  },
  'messages looked at for one question about states': {
    number: async t => {
      assert.deepEqual(await knownOf(t, 1900, 1), ['accepted', 'accepted'])
      assert.deepEqual(await knownOf(t, 2200, 1), ['unknown', 'accepted'])
    },
    bytes: async t => assert.deepEqual(await knownOf(t, 90, 250_000), ['unknown', 'accepted']),
  },
}
