/** An archive of messages as large as clients may send them: nobody waits for who looks through it, and nothing piles up. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { C2SStream } from '../../src/c2s/stream.ts'
import { type Answer, query } from '../support/archive.ts'
import { HUGE, keep } from '../support/longarchive.ts'
import { pluck } from '../support/pluck.ts'
import { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { available, refused, serve } from '../support/talk.ts'
import { eventually } from '../support/waiting.ts'

const ROMEO = 'romeo@localhost/orchard'
const JULIET = 'juliet@localhost'
const FULLTEXT = '{urn:xmpp:fulltext:0}fulltext'
const RETRACT = 'urn:xmpp:message-retract:1'

function* huge(count: number, more: string) {
  for (let i = 0; i < count; i++)
    yield { id: `m${i}`, from: ROMEO, to: JULIET, content: `<body>word ${i}</body>${more}` }
}

async function world(t: TestContext, count: number, more = HUGE) {
  const server = await serve(t)
  const juliet = await server.client('juliet', { resource: 'balcony' })
  const nurse = await server.client('nurse')
  const ids = await keep(server, 'juliet', huge(count, more))
  return { server, juliet, nurse, ids }
}

/** While somebody is answered, somebody else asks again and again; resolves with how often that was answered meanwhile. */
async function meanwhile<T>(bystander: RawClient, work: Promise<T>): Promise<{ result: T; pings: number }> {
  let done = false
  const result = work.finally(() => {
    done = true
  })
  let pings = 0
  while (!done) {
    await bystander.ping()
    if (!done) pings++
  }
  return { result: await result, pings }
}

test('a page ends with the message that makes it large; asked to go on, the client gets all', async t => {
  const { juliet, ids } = await world(t, 12)
  const pages: Answer[] = []
  for (let after: string | undefined; pages.at(-1)?.complete !== true; after = pages.at(-1)!.last) {
    pages.push(await query(juliet, {}, after === undefined ? '' : `<after>${after}</after>`))
  }
  assert.deepEqual(
    pages.map(page => page.results.length),
    [5, 5, 2],
  )
  assert.deepEqual(
    pages.flatMap(page => page.results.map(({ id }) => id)),
    ids,
  )
  for (const { first, last, results } of pages) assert.deepEqual([first, last], [results[0]!.id, results.at(-1)!.id])

  const back: Answer[] = []
  for (let before = ''; back.at(-1)?.complete !== true; before = back.at(-1)!.first!) {
    back.push(await query(juliet, { with: 'romeo@localhost' }, `<before>${before}</before>`))
  }
  assert.deepEqual(
    back.toReversed().flatMap(page => page.results.map(({ id }) => id)),
    ids,
  )
  assert.deepEqual(
    back.map(page => page.results.length),
    [5, 5, 2],
  )
})

test('messages that are asked for by their ids come in pages too', async t => {
  const { juliet, ids } = await world(t, 7)
  const first = await query(juliet, { ids })
  assert.deepEqual([first.results.length, first.complete, first.count], [5, false, 7])
  const rest = await query(juliet, { ids }, `<after>${first.last}</after>`)
  assert.deepEqual(pluck([...first.results, ...rest.results], 'id'), ids)
  assert.equal(rest.complete, true)
  const last = await query(juliet, { ids }, '<max>2</max><before/>')
  assert.deepEqual(pluck(last.results, 'id'), ids.slice(-2))
  await refused('item-not-found', query(juliet, { ids: [...ids, 'x'] }))
})

test('while somebody looks through an archive of large messages others are answered', async t => {
  const { juliet, nurse } = await world(t, 90)
  const page = await meanwhile(nurse, query(juliet))
  assert.equal(page.result.results.length, 5)
  assert.ok(page.pings > 0, 'a page')
  const search = await meanwhile(nurse, query(juliet, { [FULLTEXT]: 'nowhere' }))
  assert.deepEqual([search.result.results.length, search.result.complete], [0, false])
  assert.ok(search.pings > 0, 'a search')
  const resource = await meanwhile(nurse, query(juliet, { with: 'romeo@localhost/elsewhere' }))
  assert.deepEqual([resource.result.results.length, resource.result.complete], [0, false])
  assert.ok(resource.pings > 0, 'a resource')
})

test('a search looks at so many bytes, says how far it got, and goes on from there', async t => {
  const { juliet, ids } = await world(t, 90)
  const first = await query(juliet, { [FULLTEXT]: 'word 89' })
  assert.deepEqual([first.results.length, first.complete], [0, false])
  assert.equal(first.last, ids[65], '16 MiB of them')
  const second = await query(juliet, { [FULLTEXT]: 'word 89' }, `<after>${first.last}</after>`)
  assert.deepEqual([second.results.length, second.complete], [1, true])
  assert.equal(second.results[0]!.id, ids[89])
})

test('a client that does not read is not sent more: the page waits, and so do the ones that it asked for meanwhile', async t => {
  const { server, juliet, ids } = await world(t, 30)
  juliet.pause()
  const pages: Promise<Answer>[] = []
  for (const at of [-1, 4, 9, 14, 19, 24]) pages.push(query(juliet, {}, at < 0 ? '' : `<after>${ids[at]}</after>`))
  const streams = [...server.server.streams()] as C2SStream[]
  const { xmpp } = streams.find(({ session }) => session?.jid.toString() === juliet.jid)!
  await eventually(() => xmpp.transport.backlog > 512 * 1024)
  const nurse = await server.client('nurse')
  for (let i = 0; i < 20; i++) await nurse.ping()
  assert.ok(xmpp.transport.backlog < 1024 * 1024, `${xmpp.transport.backlog} bytes wait`)
  juliet.resumeReading()
  const all = (await Promise.all(pages)).flatMap(({ results }) => results.map(({ id }) => id))
  assert.deepEqual(all, ids)
})

test('with stream management a page waits for acknowledgements, which are read meanwhile', async t => {
  const { server, ids } = await world(t, 30)
  const juliet = await server.client('juliet', { resource: 'phone' })
  await juliet.enable()
  const pages: Promise<Answer>[] = []
  for (const at of [-1, 4, 9, 14, 19, 24]) pages.push(query(juliet, {}, at < 0 ? '' : `<after>${ids[at]}</after>`))
  const all = (await Promise.all(pages)).flatMap(({ results }) => results.map(({ id }) => id))
  assert.deepEqual(all, ids)
})

test('one session asks so many questions at a time', async t => {
  const { server } = await world(t, 5, `<x xmlns='urn:x'>${'x'.repeat(250_000)}</x>`)
  const options = { port: server.port, domain: 'localhost', user: 'juliet', password: 'secret' }
  const juliet = await RawClient.session({ ...options, autoAck: false, presence: false })
  t.after(() => juliet.cut())
  juliet.setMaxListeners(200)
  // It does not say what it has: its second page waits, and all that it asks after that.
  const pages = [query(juliet), query(juliet)]
  await pages[0]
  const all = Array.from({ length: 120 }, () =>
    query(juliet, {}, '<max>0</max>').then(
      () => 'answered',
      (error: Error) => error.message,
    ),
  )
  const refusals = all.slice(100)
  assert.deepEqual(new Set(await Promise.all(refusals)), new Set(['iq error: resource-constraint']))
  juliet.on('asked', () => juliet.ack())
  juliet.ack()
  assert.deepEqual(
    (await Promise.all(pages)).map(({ results }) => results.length),
    [5, 5],
  )
  assert.deepEqual(new Set(await Promise.all(all.slice(0, 100))), new Set(['answered']))
})

test('what a session asked that has ended is looked for no more', async t => {
  const { server, juliet, nurse } = await world(t, 20)
  const archive = server.server.host('localhost')!.services.use('archive')!
  let reads = 0
  const read = archive.read.bind(archive)
  t.mock.method(archive, 'read', async (...args: Parameters<typeof read>) => {
    reads++
    return read(...args)
  })
  juliet.setMaxListeners(100)
  for (let n = 0; n < 50; n++) query(juliet, { [FULLTEXT]: 'nowhere' }).catch(() => {})
  await eventually(() => reads > 0, 'the search')
  juliet.cut()
  await eventually(() => server.server.host('localhost')!.accounts.get('juliet')!.sessions.size === 0)
  for (let n = 0; n < 50; n++) await nurse.ping()
  assert.ok(reads <= 2 * 21, `${reads} reads`) // of the search that was under way, and of one more
})

test('the inbox counts without a look at the messages, and tells of so many bytes of them at a time', async t => {
  const { server, juliet, nurse } = await world(t, 20)
  for (let n = 0; n < 12; n++) {
    const friend = await server.client(`friend${n}`)
    friend.send(
      `<message to='${JULIET}' type='chat' id='f'><body>hi</body><x xmlns='urn:x'>${'x'.repeat(250_000)}</x></message>`,
    )
    await friend.ping()
  }
  const entries: string[] = []
  juliet.on('stanza', el => {
    const entry = child(el, 'entry', 'urn:xmpp:inbox:1')
    if (entry !== undefined) entries.push(`${entry.attrs['jid']} ${entry.attrs['unread']}`)
  })
  const ask = (more: string) => juliet.request('get', `<inbox xmlns='urn:xmpp:inbox:1'>${more}</inbox>`)
  const first = await meanwhile(nurse, ask(''))
  assert.ok(first.pings > 0)
  assert.equal(entries.length, 5)
  const set = child(child(first.result, 'fin'), 'set')
  assert.equal(child(set, 'count')?.text, '12')
  await ask(`<set xmlns='http://jabber.org/protocol/rsm'><after>${child(set, 'last')!.text}</after></set>`)
  assert.deepEqual(
    entries,
    Array.from({ length: 10 }, (_, n) => `friend${11 - n}@localhost 1`),
  )
})

test('a message far back is retracted by its place in the index; others are answered meanwhile', async t => {
  const { server, juliet, nurse } = await world(t, 40)
  const romeo = await server.client('romeo', { resource: 'orchard' })
  const small = (n: number) => ({ id: `s${n}`, from: ROMEO, to: JULIET, content: `<body>${n}</body>` })
  await keep(
    server,
    'juliet',
    Array.from({ length: 5000 }, (_, n) => small(n)),
  )
  await available(juliet)
  romeo.send(
    `<message to='${JULIET}' type='chat' id='r1'><retract xmlns='${RETRACT}' id='m3'/><store xmlns='urn:xmpp:hints'/></message>`,
  )
  romeo.send(
    `<message to='${JULIET}' type='chat' id='r2'><retract xmlns='${RETRACT}' id='never'/><store xmlns='urn:xmpp:hints'/></message>`,
  )
  await juliet.receive(el => el.attrs['id'] === 'r2')
  const [result, stone] = await eventually(async () => {
    await nurse.ping()
    const { results } = await query(juliet, {}, '<max>4</max>')
    const found = child(results[3]!.message, 'retracted', RETRACT)
    return found === undefined ? undefined : ([results[3]!, found] as const)
  }, 'the retraction')
  assert.equal(stone.attrs['id'], 'r1')
  assert.equal(result.body, undefined)
})
