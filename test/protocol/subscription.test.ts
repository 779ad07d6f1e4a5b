import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, bare, befriend, nothing, presenceFrom, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

const ROSTER = 'jabber:iq:roster'

const server = await serve({ after })

/** A client that has the roster and is available. */
async function online(user: string, on: TestServer = server): Promise<RawClient> {
  const client = await on.client(user)
  await client.request('get', `<query xmlns='${ROSTER}'/>`)
  await available(client)
  return client
}

async function roster(client: RawClient): Promise<Record<string, string>[]> {
  const answer = await client.request('get', `<query xmlns='${ROSTER}'/>`)
  return child(answer, 'query')!.children.map(item => item.attrs)
}

const push =
  (jid: string, attrs: Record<string, string>) =>
  (el: XmlElement): boolean => {
    const item = child(child(el, 'query', ROSTER), 'item')
    if (el.attrs['type'] !== 'set' || item?.attrs['jid'] !== jid) return false
    return Object.entries(attrs).every(([name, value]) => item.attrs[name] === value)
  }

/** What a client gets from now on: stanzas of the kinds that subscriptions are about, each in a word or two. */
function journal(client: RawClient): string[] {
  const lines: string[] = []
  client.on('stanza', el => {
    const item = child(child(el, 'query', ROSTER), 'item')
    if (el.name === 'presence') lines.push(`${el.attrs['type'] ?? 'available'} ${el.attrs['from']}`)
    else if (item !== undefined && el.attrs['type'] === 'set') lines.push(`push ${item.attrs['subscription']}`)
  })
  return lines
}

test('asking: from the bare address, with what was said; a push with ask; nothing in the roster of who is asked', async () => {
  const [alice, bob] = [await online('alice'), await online('bob')]
  alice.send(`<presence to='bob@localhost/anything' type='subscribe'><status>Hi, it is me</status></presence>`)
  const request = await bob.receive(presenceFrom('alice@localhost', 'subscribe'))
  assert.equal(request.attrs['to'], 'bob@localhost')
  assert.equal(child(request, 'status')?.text, 'Hi, it is me')
  await alice.receive(push('bob@localhost', { subscription: 'none', ask: 'subscribe' }))
  assert.deepEqual(await roster(bob), []) // RFC 6121 A.1
  // Asked again while it waits, it is not shown again.
  alice.send(`<presence to='bob@localhost' type='subscribe'/>`)
  await nothing(bob, presenceFrom('alice@localhost', 'subscribe'), alice)
})

test('yes: the answer, a push, then the presence of every client of who said it', async () => {
  const [cy, di, tab] = [await online('cy'), await online('di'), await online('di')]
  cy.send(`<presence to='di@localhost' type='subscribe'/>`)
  await di.receive(presenceFrom('cy@localhost', 'subscribe'))
  const got = journal(cy)
  di.send(`<presence to='cy@localhost' type='subscribed'/>`)
  await di.receive(push('cy@localhost', { subscription: 'from' }))
  await cy.receive(presenceFrom(di.jid))
  await cy.receive(presenceFrom(tab.jid))
  assert.deepEqual(got.slice(0, 2), ['subscribed di@localhost', 'push to']) // RFC 6121 3.1.6
  await nothing(di, presenceFrom(cy.jid), cy)
})

test('a client with the roster that is not available learns the answer', async () => {
  const [ed, fi] = [await server.client('ed'), await online('fi')]
  await roster(ed)
  ed.send(`<presence to='fi@localhost' type='subscribe'/>`)
  await fi.receive(presenceFrom('ed@localhost', 'subscribe'))
  fi.send(`<presence to='ed@localhost' type='subscribed'/>`)
  await ed.receive(presenceFrom('fi@localhost', 'subscribed'))
})

test('taking a yes back: the contact sees the user go before it is told', async () => {
  const [gil, hal] = [await online('gil'), await online('hal')]
  await befriend(gil, hal)
  const got = journal(hal)
  gil.send(`<presence to='hal@localhost' type='unsubscribed'/>`)
  await hal.receive(presenceFrom('gil@localhost', 'unsubscribed'))
  await hal.receive(push('gil@localhost', { subscription: 'from' }))
  await gil.receive(push('hal@localhost', { subscription: 'to' }))
  assert.equal(
    got.find(line => !line.startsWith('push')),
    `unavailable ${gil.jid}`,
  ) // RFC 6121 3.2.2
  gil.send('<presence><show>away</show></presence>')
  await nothing(hal, presenceFrom(gil.jid), gil)
})

test('no longer wanting to see: told, pushed, and the presence goes', async () => {
  const [ira, jan] = [await online('ira'), await online('jan')]
  await befriend(ira, jan)
  ira.send(`<presence to='jan@localhost' type='unsubscribe'/>`)
  await jan.receive(presenceFrom('ira@localhost', 'unsubscribe'))
  await jan.receive(push('ira@localhost', { subscription: 'to' }))
  await ira.receive(push('jan@localhost', { subscription: 'from' }))
  await ira.receive(presenceFrom(jan.jid, 'unavailable'))
})

test('removing a contact: it sees the user go before it is told', async () => {
  const [kit, lou] = [await online('kit'), await online('lou')]
  await befriend(kit, lou)
  const got = journal(lou)
  await kit.request('set', `<query xmlns='${ROSTER}'><item jid='lou@localhost' subscription='remove'/></query>`)
  await lou.receive(presenceFrom('kit@localhost', 'unsubscribed'))
  await lou.receive(push('kit@localhost', { subscription: 'none' }))
  await kit.receive(presenceFrom(lou.jid, 'unavailable'))
  const gone = got.indexOf(`unavailable ${kit.jid}`)
  assert.ok(gone >= 0 && gone < got.indexOf('unsubscribed kit@localhost'), got.join('; '))
  assert.deepEqual(await roster(kit), [])
})

test('a yes before the question: shown as approved, then given at once', async () => {
  const [moe, ned] = [await online('moe'), await online('ned')]
  moe.send(`<presence to='ned@localhost' type='subscribed'/>`)
  await moe.receive(push('ned@localhost', { subscription: 'none', approved: 'true' }))
  await nothing(ned, presenceFrom('moe@localhost', 'subscribed'), moe)
  ned.send(`<presence to='moe@localhost' type='subscribe'/>`)
  await ned.receive(presenceFrom('moe@localhost', 'subscribed'))
  await ned.receive(presenceFrom(moe.jid))
  await moe.receive(push('ned@localhost', { subscription: 'from' }))
  await nothing(moe, presenceFrom('ned@localhost', 'subscribe'), ned)
})

test('who may see already, and has forgotten, is answered by the server', async () => {
  const [ola, pim] = [await online('ola'), await online('pim')]
  await befriend(ola, pim)
  await server.command('add_rosteritem', { account: 'ola@localhost', contact: 'pim@localhost' })
  ola.send(`<presence to='pim@localhost' type='subscribe'/>`)
  await ola.receive(presenceFrom('pim@localhost', 'subscribed'))
  await ola.receive(push('pim@localhost', { subscription: 'to' }))
  await nothing(pim, presenceFrom('ola@localhost', 'subscribe'), ola)
})

test('a question to nobody is answered by nobody, as one to a user who does not answer', async () => {
  const quin = await online('quin')
  quin.send(`<presence to='nobody@localhost' type='subscribe'/>`)
  await quin.receive(push('nobody@localhost', { ask: 'subscribe' }))
  await nothing(quin, el => el.name === 'presence' && el.attrs['from']?.startsWith('nobody@') === true)
})

test('of a very long request, that it was made is kept', async () => {
  const rob = await online('rob')
  await server.register('sue')
  rob.send(`<presence to='sue@localhost' type='subscribe'><status>${'long '.repeat(2000)}</status></presence>`)
  await rob.receive(push('sue@localhost', { ask: 'subscribe' }))
  await rob.ping()
  const sue = await online('sue')
  await sue.receive(presenceFrom('rob@localhost', 'subscribe'))
})

test('a request that is withdrawn is not shown at the next login', async () => {
  const tim = await online('tim')
  await server.register('una')
  tim.send(`<presence to='una@localhost' type='subscribe'/>`)
  tim.send(`<presence to='una@localhost' type='unsubscribe'/>`)
  await tim.ping()
  const una = await online('una')
  await nothing(una, presenceFrom('tim@localhost', 'subscribe'))
})

test('requests of strangers are bounded, and leave the user room for contacts', async t => {
  const small = await serve(t, { modules: { mod_roster: { max_items: 10, max_requests: 10 } } })
  await small.register('vic')
  for (let i = 0; i < 12; i++) {
    const stranger = await online(`s${i}`, small)
    stranger.send(`<presence to='vic@localhost' type='subscribe'/>`)
    await stranger.ping()
    await stranger.close()
  }
  const vic = await small.client('vic')
  const requests: string[] = []
  vic.on('stanza', el => {
    if (el.attrs['type'] === 'subscribe') requests.push(el.attrs['from']!)
  })
  await available(vic)
  await vic.ping()
  assert.equal(requests.length, 10)
  await vic.request('set', `<query xmlns='${ROSTER}'><item jid='friend@localhost'/></query>`)
  assert.equal((await roster(vic)).length, 1)
})

test('of many long requests so much is kept, and of the others that they were sent', async t => {
  const small = await serve(t)
  await small.register('vic')
  for (let i = 0; i < 70; i++) {
    const stranger = await small.client(`s${i}`)
    stranger.send(`<presence to='vic@localhost' type='subscribe'><status>${'x'.repeat(4000)}</status></presence>`)
    await stranger.ping()
    await stranger.close()
  }
  const vic = await small.client('vic')
  let [requests, text] = [0, 0]
  vic.on('stanza', el => {
    if (el.attrs['type'] !== 'subscribe') return
    requests++
    text += child(el, 'status')?.text.length ?? 0
  })
  await available(vic)
  await vic.ping()
  assert.equal(requests, 70)
  assert.ok(text > 200_000 && text <= 262_144, `${text} characters`)
})

test('who only asked changes nothing for clients that have the roster', async () => {
  const [xia, yul] = [await online('xia'), await online('yul')]
  await xia.request('set', `<query xmlns='${ROSTER}'><item jid='friend@localhost'/></query>`)
  const pushed = await xia.receive(push('friend@localhost', {}))
  const ver = child(pushed, 'query')!.attrs['ver']
  yul.send(`<presence to='xia@localhost' type='subscribe'/>`)
  await xia.receive(presenceFrom('yul@localhost', 'subscribe'))
  const tab = await server.client('xia')
  const answer = await tab.request('get', `<query xmlns='${ROSTER}' ver='${ver}'/>`)
  assert.deepEqual(answer.children, [])
  await nothing(tab, el => child(el, 'query', ROSTER) !== undefined, tab)
})

test('a user who asks themselves is not bothered', async () => {
  const wes = await online('wes')
  for (const type of ['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed']) {
    wes.send(`<presence to='${bare(wes)}' type='${type}'/>`)
  }
  await nothing(wes, el => el.name === 'presence' || el.attrs['type'] === 'set')
})

test('contacts of an account that is removed learn that it is over', async () => {
  const [xan, yul] = [await online('xan'), await online('yul')]
  await befriend(xan, yul)
  await xan.close()
  await server.server.host('localhost')!.removeAccount('xan')
  await yul.receive(presenceFrom('xan@localhost', 'unsubscribe'))
  await yul.receive(presenceFrom('xan@localhost', 'unsubscribed'))
  await yul.receive(push('xan@localhost', { subscription: 'none' }))
})
