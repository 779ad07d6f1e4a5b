import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { isPointer } from '../../src/core/queue/store.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { type Answer, MAM, query } from '../support/archive.ts'
import { faultyStore } from '../support/faultystore.ts'
import { pluck } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, xmlText } from '../support/rawxml.ts'
import { bodies, detached, managed } from '../support/resuming.ts'
import { available, nothing, refused, says, serve } from '../support/talk.ts'
import type { TestOptions } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

async function couple(t: TestContext, options: TestOptions = {}) {
  const server = await serve(t, options)
  const romeo = await server.client('romeo', { resource: 'orchard' })
  const juliet = await server.client('juliet', { resource: 'balcony' })
  await available(romeo)
  await available(juliet)
  return { server, romeo, juliet }
}

let ids = 0

/** Says something and waits until it has arrived at `whom`. */
async function tell(who: RawClient, whom: RawClient, body: string, more = ''): Promise<string> {
  const id = `m${++ids}`
  who.send(
    `<message to='${whom.jid.split('/')[0]}' type='chat' id='${id}'><body>${xmlText(body)}</body>${more}</message>`,
  )
  await whom.receive(says(body))
  return id
}

test('both sides find what they said to each other, in order, under the ids that were delivered', async t => {
  const { romeo, juliet } = await couple(t)
  romeo.send(
    "<message to='juliet@localhost' type='chat' id='a' xml:lang='en'><body>Neither, fair saint</body></message>",
  )
  const delivered = await juliet.receive(says('Neither, fair saint'))
  await tell(juliet, romeo, 'How cam’st thou hither?')

  const hers = await query(juliet)
  assert.deepEqual(hers.bodies, ['Neither, fair saint', 'How cam’st thou hither?'])
  assert.equal(hers.complete, true)
  assert.equal(hers.results[0]!.id, child(delivered, 'stanza-id', 'urn:xmpp:sid:0')!.attrs['id'])
  assert.deepEqual(
    [hers.first, hers.last],
    hers.results.map(r => r.id),
  )
  const { message, stamp } = hers.results[0]!
  assert.equal(message.attrs['from'], romeo.jid)
  assert.equal(message.attrs['to'], 'juliet@localhost')
  assert.equal(message.attrs['id'], 'a')
  assert.equal(message.attrs['xml:lang'], 'en')
  assert.ok(Math.abs(Date.parse(stamp) - Date.now()) < 10_000)

  const his = await query(romeo)
  assert.deepEqual(his.bodies, hers.bodies)
  assert.equal(child(his.results[0]!.message, 'stanza-id'), undefined, 'her id of his message is not for him')
})

test('with, start, end, before-id, after-id, ids, words: what is asked for and nothing else', async t => {
  let now = Date.parse('2026-01-01T00:00:00Z')
  const { server, romeo, juliet } = await couple(t, { now: () => now })
  const nurse = await server.client('nurse', { resource: 'hall' })
  await available(nurse)
  for (const [who, body] of [
    [romeo, 'one'],
    [nurse, 'two words'],
    [romeo, 'three'],
    [nurse, 'four Words'],
  ] as const) {
    await tell(who, juliet, body)
    now += 60_000
  }
  await tell(juliet, juliet, 'to myself')
  const all = await query(juliet)
  assert.deepEqual(all.bodies, ['one', 'two words', 'three', 'four Words', 'to myself'])
  const got = async (fields: Record<string, string | string[]>) => (await query(juliet, fields)).bodies
  assert.deepEqual(await got({ with: 'romeo@localhost' }), ['one', 'three'])
  assert.deepEqual(await got({ with: nurse.jid }), ['two words', 'four Words'])
  assert.deepEqual(await got({ with: 'nurse@localhost/elsewhere' }), [])
  assert.deepEqual(await got({ with: 'juliet@localhost' }), ['to myself'])
  assert.deepEqual(await got({ with: 'tybalt@localhost' }), [])
  assert.deepEqual(await got({ start: '2026-01-01T00:01:00Z', end: '2026-01-01T00:02:00Z' }), ['two words', 'three'])
  assert.deepEqual(await got({ start: '2026-01-01T01:02:00+01:00', with: 'nurse@localhost' }), ['four Words'])
  const [one, , three, four] = all.results.map(r => r.id)
  assert.deepEqual(await got({ 'after-id': one!, 'before-id': four! }), ['two words', 'three'])
  assert.deepEqual(await got({ ids: [three!, one!] }), ['one', 'three'])
  // XEP-0313 4.1: each field narrows what is found, the list of ids too.
  const ids = all.results.map(r => r.id)
  const words = '{urn:xmpp:fulltext:0}fulltext'
  assert.deepEqual(await got({ ids, with: 'romeo@localhost' }), ['one', 'three'])
  assert.deepEqual(await got({ ids, with: 'nurse@localhost/elsewhere' }), [])
  assert.deepEqual(await got({ ids, with: 'juliet@localhost' }), ['to myself'])
  assert.deepEqual(await got({ ids, start: '2026-01-01T00:01:00Z', end: '2026-01-01T00:02:00Z' }), [
    'two words',
    'three',
  ])
  assert.deepEqual(await got({ ids, 'after-id': one!, 'before-id': four! }), ['two words', 'three'])
  assert.deepEqual(await got({ ids, [words]: 'words' }), ['two words', 'four Words'])
  const narrowed = await query(juliet, { ids, with: 'romeo@localhost' }, '<max>1</max>')
  assert.deepEqual([narrowed.bodies, narrowed.complete], [['one'], false])
  assert.deepEqual(await got({ '{urn:xmpp:fulltext:0}fulltext': 'WORDS two' }), ['two words'])
  assert.deepEqual(await got({ '{urn:xmpp:fulltext:0}fulltext': 'words', with: 'romeo@localhost' }), [])

  await refused('item-not-found', query(juliet, { 'before-id': 'nothing' }))
  await refused('item-not-found', query(juliet, { 'after-id': 'nothing' }))
  await refused('item-not-found', query(juliet, { ids: [one!, 'nothing'] }))
  await refused('feature-not-implemented', query(juliet, { 'include-groupchat': 'true' }))
  await refused('bad-request', query(juliet, { start: 'yesterday' }))
  await refused('jid-malformed', query(juliet, { with: '@' }))
  await refused('policy-violation', query(juliet, { ids: Array.from({ length: 251 }, (_, i) => `${i}`) }))
})

test('page by page, forwards and backwards, the whole archive comes once', async t => {
  const { romeo, juliet } = await couple(t, { modules: { mod_mam: { max_page: 20 } } })
  const said = Array.from({ length: 25 }, (_, i) => `line ${i}`)
  for (const body of said) await tell(romeo, juliet, body)
  const walk = async (next: (page: Answer | undefined) => string, fields = {}) => {
    const pages: Answer[] = []
    do pages.push(await query(juliet, fields, next(pages.at(-1))))
    while (!pages.at(-1)!.complete)
    return pages
  }
  const forwards = await walk(page => `<max>10</max>${page ? `<after>${page.last}</after>` : ''}`)
  assert.deepEqual(
    forwards.map(p => p.bodies.length),
    [10, 10, 5],
  )
  assert.deepEqual(
    forwards.flatMap(p => p.bodies),
    said,
  )
  const backwards = await walk(page => `<max>10</max><before>${page?.first ?? ''}</before>`, { with: romeo.jid })
  assert.deepEqual(
    backwards.map(p => p.bodies.length),
    [10, 10, 5],
  )
  assert.deepEqual(
    backwards.reverse().flatMap(p => p.bodies),
    said,
    'each page is in order of time',
  )
  const searched = await walk(page => `<max>2</max>${page ? `<after>${page.last}</after>` : ''}`, {
    '{urn:xmpp:fulltext:0}fulltext': '4',
  })
  assert.deepEqual(
    searched.flatMap(p => p.bodies),
    ['line 4', 'line 14', 'line 24'],
  )

  const flipped = await query(juliet, {}, '<max>3</max><before/>', '<flip-page/>')
  assert.deepEqual(flipped.bodies, ['line 24', 'line 23', 'line 22'])
  assert.deepEqual([flipped.first, flipped.last], [flipped.results[2]!.id, flipped.results[0]!.id])
  assert.equal((await query(juliet)).bodies.length, 20, 'the operator’s limit, where the client sets none')
  assert.equal((await query(juliet, {}, '<max>1000</max>')).bodies.length, 20)
  const none = await query(juliet, {}, '<max>0</max>')
  assert.deepEqual([none.bodies, none.complete, none.first], [[], false, undefined])
  await refused('item-not-found', query(juliet, {}, '<max>10</max><after>nothing</after>'))
  await refused('feature-not-implemented', query(juliet, {}, '<max>10</max><index>3</index>'))
})

test('the ends of the archive, and the fields of a query, can be asked for', async t => {
  const { romeo, juliet } = await couple(t)
  const ask = async () => child(await juliet.request('get', `<metadata xmlns='${MAM}'/>`), 'metadata', MAM)!
  assert.deepEqual((await ask()).children, [])
  await tell(romeo, juliet, 'first')
  await tell(romeo, juliet, 'second')
  const { results } = await query(juliet)
  const metadata = await ask()
  assert.deepEqual(
    metadata.children.map(el => [el.name, el.attrs['id'], el.attrs['timestamp']]),
    [
      ['start', results[0]!.id, results[0]!.stamp],
      ['end', results[1]!.id, results[1]!.stamp],
    ],
  )
  const form = child(child(await juliet.request('get', `<query xmlns='${MAM}'/>`), 'query', MAM), 'x', 'jabber:x:data')!
  const names = form.children.map(field => field.attrs['var'])
  assert.deepEqual(names.slice(0, 4), ['FORM_TYPE', 'with', 'start', 'end'])
  const info = await juliet.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", 'juliet@localhost')
  const features = child(info, 'query')!.children.map(el => el.attrs['var'])
  for (const feature of [MAM, `${MAM}#extended`, 'urn:xmpp:sid:0']) assert.ok(features.includes(feature), feature)
})

test('nobody sees the archive of somebody else', async t => {
  const { romeo, juliet } = await couple(t)
  await tell(romeo, juliet, 'a secret')
  const payload = `<query xmlns='${MAM}'/>`
  await refused('forbidden', romeo.request('set', payload, 'juliet@localhost'))
  await refused('forbidden', romeo.request('get', `<prefs xmlns='${MAM}'/>`, 'juliet@localhost'))
  await refused('forbidden', romeo.request('get', `<metadata xmlns='${MAM}'/>`, 'juliet@localhost'))
  await refused('forbidden', romeo.request('set', payload, 'nobody@localhost'))
})

test('what only makes sense now, or is not to be kept, is not archived', async t => {
  const { romeo, juliet } = await couple(t)
  const hint = (name: string) => `<${name} xmlns='urn:xmpp:hints'/>`
  await tell(romeo, juliet, 'no store', hint('no-store'))
  await tell(romeo, juliet, 'no permanent store', hint('no-permanent-store'))
  romeo.send("<message to='juliet@localhost' type='headline'><body>news</body></message>")
  romeo.send(
    "<message to='juliet@localhost' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
  )
  romeo.send("<message to='juliet@localhost'><received xmlns='urn:xmpp:receipts' id='x'/></message>")
  await tell(romeo, juliet, 'kept')
  assert.deepEqual((await query(juliet)).bodies, [undefined, 'kept'], 'a receipt, and the message')
  assert.deepEqual((await query(romeo)).bodies, [undefined, 'kept'])
})

test('a user decides what is archived: always, never, for contacts, by address', async t => {
  const { server, romeo, juliet } = await couple(t)
  const nurse = await server.client('nurse', { resource: 'hall' })
  const prefs = (attrs: string, always = '', never = '') =>
    juliet.request('set', `<prefs xmlns='${MAM}' ${attrs}><always>${always}</always><never>${never}</never></prefs>`)
  await prefs("default='never'", '<jid>nurse@localhost</jid>')
  await tell(romeo, juliet, 'not archived')
  await tell(nurse, juliet, 'archived')
  await tell(juliet, romeo, 'nor this')
  assert.deepEqual((await query(juliet)).bodies, ['archived'])
  assert.deepEqual((await query(romeo)).bodies, ['not archived', 'nor this'], 'that is his to decide')
  const account = server.server.host('localhost')!.accounts.get('juliet')!
  const weight = account.weight
  await prefs("default='roster'", '', `<jid>${romeo.jid}</jid>`)
  assert.equal(account.weight - weight, romeo.jid.length - 'nurse@localhost'.length)
  await tell(nurse, juliet, 'no contact')
  assert.deepEqual((await query(juliet)).bodies, ['archived'])
  const answer = child(await juliet.request('get', `<prefs xmlns='${MAM}'/>`), 'prefs', MAM)!
  assert.equal(answer.attrs['default'], 'roster')
  assert.deepEqual(pluck(child(answer, 'never')!.children, 'text'), [romeo.jid])
  await refused('bad-request', prefs("default='sometimes'"))
  await refused('bad-request', prefs(''))
  const many = Array.from({ length: 501 }, (_, i) => `<jid>u${i}@localhost</jid>`).join('')
  await refused('policy-violation', prefs("default='always'", many))
})

test('what waited and was fetched from the archive is not delivered again, once the client has acknowledged it', async t => {
  const server = await serve(t)
  const host = server.server.host('localhost')!
  const romeo = await server.client('romeo')
  await server.register('juliet')
  for (const body of ['1', '2', '3']) {
    romeo.send(`<message to='juliet@localhost' type='chat' id='${body}'><body>${body}</body></message>`)
  }
  await romeo.ping()
  assert.equal(await host.queues.count('juliet'), 3)

  // Her connection breaks before she has acknowledged: nothing is lost.
  const lost = await server.client('juliet', { resource: 'lost' })
  await lost.enable()
  lost.options.autoAck = false
  assert.deepEqual((await query(lost)).bodies, ['1', '2', '3'])
  lost.cut()
  await detached(server, 'juliet@localhost/lost')
  assert.equal(await host.queues.count('juliet'), 3)

  const juliet = await server.client('juliet', { resource: 'lost' })
  await juliet.enable()
  assert.deepEqual((await query(juliet)).bodies, ['1', '2', '3'])
  juliet.ack()
  await available(juliet)
  await nothing(juliet, el => child(el, 'body') !== undefined)
  assert.equal(await host.queues.count('juliet'), 0)
  await tell(romeo, juliet, '4')
  assert.deepEqual((await query(juliet)).bodies, ['1', '2', '3', '4'])
})

test('queued messages lie in the archive alone, and are delivered after a restart', async t => {
  const store = openMemoryStore()
  const first = await serve(t, { store: faultyStore({ inner: store }).store })
  const romeo = await managed(first, 'romeo')
  await first.register('juliet')
  for (const body of ['1', '2']) {
    romeo.send(`<message to='juliet@localhost' type='chat' id='${body}'><body>${body}</body></message>`)
  }
  await romeo.ping()
  const rows = await store.table<Buffer>('localhost', { name: 'queue', codec: 'bytes' }).scan(['juliet'])
  assert.deepEqual(
    rows.map(row => isPointer(row.value)),
    [true, true],
  )
  await first.stop()

  const second = await serve(t, { store, modules: { mod_mam: { archive: false } } })
  const juliet = await second.client('juliet')
  juliet.send('<presence/>')
  assert.deepEqual(await bodies(juliet, '2'), ['1', '2'], 'also where the operator has changed his mind')
})

test('until delivered: nothing is kept, and no archive is offered', async t => {
  const { server, romeo, juliet } = await couple(t, { modules: { mod_mam: { archive: false } } })
  await tell(romeo, juliet, 'gone')
  await juliet.ping()
  await refused('service-unavailable', query(juliet))
  await juliet.close()
  const host = server.server.host('localhost')!
  await eventually(() => [...host.sessions()].length === 1, 'she is gone')
  assert.equal(await host.queues.count('juliet'), 0)
  assert.deepEqual(await host.archive.scan(['juliet']), [])
})

test('old messages go, the oldest first; one that was not delivered stays, with all that is newer', async t => {
  let now = Date.parse('2026-01-01T00:00:00Z')
  const { server, romeo, juliet } = await couple(t, { now: () => now })
  await tell(romeo, juliet, 'day 1')
  now += 86_400_000
  await tell(romeo, juliet, 'day 2')
  now += 86_400_000
  await tell(romeo, juliet, 'day 3')
  const [, second] = (await query(juliet)).results
  const queues = [...server.server.host('localhost')!.accounts.values()].map(account => account.queue)
  await eventually(() => queues.every(queue => queue.size === 0), 'all delivered')
  assert.equal(await server.command('delete_old_mam_messages', { host: 'localhost', days: 1 }), 2, 'hers and his')
  assert.deepEqual((await query(juliet)).bodies, ['day 2', 'day 3'])
  assert.deepEqual((await query(juliet, { with: 'romeo@localhost' })).bodies, ['day 2', 'day 3'])
  assert.deepEqual((await query(romeo)).bodies, ['day 2', 'day 3'])
  assert.deepEqual((await query(juliet, { 'after-id': second!.id })).bodies, ['day 3'])

  await server.register('nurse')
  romeo.send("<message to='nurse@localhost' type='chat' id='n'><body>waits</body></message>")
  await romeo.ping()
  now += 100 * 86_400_000
  await server.command('delete_old_mam_messages', { host: 'localhost', days: 1 })
  assert.deepEqual((await query(juliet)).bodies, [])
  const nurse = await server.client('nurse')
  nurse.send('<presence/>')
  await nurse.receive(says('waits'))
  assert.deepEqual((await query(nurse)).bodies, ['waits'])
})

test('what is in flight and not written yet is not removed either', async t => {
  const store = openMemoryStore()
  let now = Date.parse('2026-01-01T00:00:00Z')
  const first = await serve(t, { store: faultyStore({ inner: store }).store, now: () => now })
  const romeo = await first.client('romeo')
  const juliet = await managed(first, 'juliet')
  juliet.options.autoAck = false
  for (const body of ['1', '2']) {
    romeo.send(`<message to='juliet@localhost' type='chat' id='${body}'><body>${body}</body></message>`)
    await juliet.receive(says(body))
  }
  now += 1000
  await first.command('delete_old_mam_messages', { host: 'localhost', days: 0 })
  await first.stop()
  const second = await serve(t, { store, now: () => now })
  const again = await second.client('juliet')
  again.send('<presence/>')
  assert.deepEqual(await bodies(again, '2'), ['1', '2'])
})

test('new messages come after those in the archive, also where the clock was put back', async t => {
  const store = openMemoryStore()
  const now = Date.parse('2026-01-01T00:00:00Z')
  const first = await couple(t, { store: faultyStore({ inner: store }).store, now: () => now + 3_600_000 })
  await tell(first.romeo, first.juliet, 'before')
  const { last } = await query(first.juliet)
  await first.juliet.close()
  const host = first.server.server.host('localhost')!
  await eventually(() => host.accounts.get('juliet')!.queue.size === 0, 'delivered')
  await first.server.stop()
  const { romeo, juliet } = await couple(t, { store, now: () => now })
  await tell(romeo, juliet, 'after')
  assert.deepEqual((await query(juliet, {}, `<after>${last}</after>`)).bodies, ['after'])
})

test('an id that no message can have is not found', async t => {
  const { juliet } = await couple(t)
  const id = 'x'.repeat(20_000)
  await refused('item-not-found', query(juliet, { 'after-id': id }))
  await refused('item-not-found', query(juliet, { ids: [id] }))
  await refused('item-not-found', query(juliet, {}, `<before>${id}</before>`))
})

test('a retracted message leaves a tombstone in both archives; nobody can retract what others said', async t => {
  const { server, romeo, juliet } = await couple(t)
  const nurse = await server.client('nurse', { resource: 'hall' })
  const wrong = await tell(romeo, juliet, 'meant for the nurse')
  const retract = (id: string) => `<retract xmlns='urn:xmpp:message-retract:1' id='${id}'/>`
  await tell(nurse, juliet, 'I retract that', retract(wrong))
  await tell(juliet, romeo, 'So do I', retract(wrong))
  await juliet.ping()
  assert.equal((await query(juliet)).bodies[0], 'meant for the nurse')
  const retraction = await tell(romeo, juliet, '/me takes it back', retract(wrong))
  await romeo.ping()
  for (const client of [romeo, juliet]) {
    const { results } = await query(client, { with: client === romeo ? 'juliet@localhost' : 'romeo@localhost' })
    const { message } = results[0]!
    assert.equal(message.attrs['id'], wrong)
    assert.equal(child(message, 'body'), undefined)
    assert.equal(child(message, 'retracted', 'urn:xmpp:message-retract:1')!.attrs['id'], retraction)
    assert.equal(results.at(-1)!.body, '/me takes it back', 'the retraction is kept')
  }
})

test('an account that is removed takes its archive along', async t => {
  const { server, romeo, juliet } = await couple(t)
  await tell(romeo, juliet, 'hi')
  await juliet.request('set', `<prefs xmlns='${MAM}' default='never'><always/><never/></prefs>`)
  await server.command('unregister', { account: 'juliet@localhost' })
  const again = await server.client('juliet')
  const page = await query(again)
  assert.deepEqual([page.bodies, page.complete], [[], true])
  const prefs = child(await again.request('get', `<prefs xmlns='${MAM}'/>`), 'prefs', MAM)
  assert.equal(prefs?.attrs['default'], 'always')
  assert.deepEqual((await query(romeo)).bodies, ['hi'], 'his is his')
})

test('retractions are announced (XEP-0424 3), by the server and by accounts; the list of ids is open (XEP-0313 4.1.5)', async t => {
  const { juliet } = await couple(t)
  for (const to of ['localhost', 'juliet@localhost']) {
    const info = await juliet.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", to)
    const features = info.children[0]!.children.map(({ attrs }) => attrs['var'])
    assert.ok(features.includes('urn:xmpp:message-retract:1'), to)
  }
  const form = child(child(await juliet.request('get', `<query xmlns='${MAM}'/>`), 'query'), 'x')!
  const ids = form.children.find(field => field.attrs['var'] === 'ids')!
  assert.equal(ids.attrs['type'], 'list-multi')
  const validate = child(ids, 'validate', 'http://jabber.org/protocol/xdata-validate')!
  assert.equal(validate.attrs['datatype'], 'xs:string')
  assert.ok(child(validate, 'open') !== undefined)
})

test('a client that asks for the archive and says that it is there in one go gets what waited once', async t => {
  const { server, romeo, juliet } = await couple(t)
  await juliet.close()
  const bodies = Array.from({ length: 40 }, (_, n) => `word ${n}`)
  for (const body of bodies) {
    romeo.send(`<message to='juliet@localhost' type='chat' id='${body}'><body>${body}</body></message>`)
  }
  await romeo.ping()
  const phone = await server.client('juliet', { resource: 'phone' })
  await phone.enable()
  const got: string[] = []
  phone.on('stanza', el => {
    const forwarded = child(child(el, 'result'), 'forwarded')
    const body = child(el, 'body') ?? child(child(forwarded, 'message'), 'body')
    if (body !== undefined) got.push(body.text)
  })
  const page = query(phone)
  phone.send('<presence/>')
  assert.deepEqual((await page).bodies, bodies)
  await phone.ping()
  await phone.ping()
  assert.deepEqual(got, bodies)
})
