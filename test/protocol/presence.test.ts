import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Stanza } from '../../src/xmpp/stanza.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, nothing, says, serve } from '../support/talk.ts'
import { eventually } from '../support/waiting.ts'

const server = await serve({ after })

const is =
  (name: string, from: string, type?: string) =>
  (el: XmlElement): boolean =>
    el.name === name && (el.attrs['from'] ?? '').startsWith(from) && (el.attrs['type'] ?? undefined) === type

const push =
  (jid: string, subscription: string) =>
  (el: XmlElement): boolean => {
    const item = child(child(el, 'query', 'jabber:iq:roster'), 'item')
    return el.attrs['type'] === 'set' && item?.attrs['jid'] === jid && item.attrs['subscription'] === subscription
  }

async function online(user: string, resource = 'one'): Promise<RawClient> {
  const client = await server.client(user, { resource })
  await client.request('get', `<query xmlns='jabber:iq:roster'/>`)
  client.send('<presence/>')
  await client.receive(is('presence', `${user}@localhost/${resource}`))
  return client
}

/** Makes two users see each other, with the stanzas of RFC 6121 3.1. */
async function befriend(a: RawClient, nameA: string, b: RawClient, nameB: string): Promise<void> {
  a.send(`<presence to='${nameB}@localhost' type='subscribe'/>`)
  await b.receive(is('presence', `${nameA}@localhost`, 'subscribe'))
  b.send(`<presence to='${nameA}@localhost' type='subscribed'/>`)
  b.send(`<presence to='${nameA}@localhost' type='subscribe'/>`)
  await a.receive(is('presence', `${nameB}@localhost`, 'subscribe'))
  a.send(`<presence to='${nameB}@localhost' type='subscribed'/>`)
  await b.receive(push(`${nameA}@localhost`, 'both'))
  await a.receive(push(`${nameB}@localhost`, 'both'))
}

test('two users befriend each other and see each other come and go', async () => {
  const alice = await online('alice')
  const bob = await online('bob')
  await befriend(alice, 'alice', bob, 'bob')

  bob.send('<presence><show>away</show></presence>')
  const away = await alice.receive(el => is('presence', 'bob@localhost/one')(el) && child(el, 'show') !== undefined)
  assert.equal(child(away, 'show')?.text, 'away')

  await bob.close()
  await alice.receive(is('presence', 'bob@localhost/one', 'unavailable'))

  const again = await online('bob', 'two')
  await alice.receive(is('presence', 'bob@localhost/two'))
  await again.receive(is('presence', 'alice@localhost/one'))
  await again.close()
  await alice.close()
})

test('filter_packet sees presence as it sees everything: once for each address, and nothing for who is away', async t => {
  const seen: string[] = []
  const { hooks, router } = server.server.host('localhost')!
  const undo = hooks.add('test', 'filter_packet', ({ stanza }) => {
    if (stanza.kind === 'presence') seen.push(`${stanza.type} ${stanza.from} ${stanza.to}`)
  })
  t.after(undo)
  const [vera, walt] = [await online('vera'), await online('walt')]
  await befriend(vera, 'vera', walt, 'walt')
  const news = async (client: RawClient) => {
    await client.ping()
    return seen.splice(0)
  }
  await news(vera)
  vera.send('<presence><show>away</show></presence>')
  const told = ['vera@localhost/one vera@localhost/one', 'vera@localhost/one walt@localhost']
  assert.deepEqual(
    await news(vera),
    told.map(way => `available ${way}`),
  )
  await walt.close()
  await vera.receive(is('presence', 'walt@localhost/one', 'unavailable'))
  assert.deepEqual(await news(vera), ['unavailable walt@localhost/one vera@localhost'])
  vera.send('<presence/>')
  assert.deepEqual(await news(vera), [`available ${told[0]}`])
  const back = await online('walt', 'two')
  await back.receive(is('presence', 'vera@localhost/one'))
  assert.deepEqual(await news(back), [
    'available walt@localhost/two walt@localhost/two',
    'available walt@localhost/two vera@localhost',
    'probe walt@localhost/two vera@localhost',
    'available vera@localhost/one walt@localhost/two',
  ])
  // Elsewhere nobody knows who is there: all of it goes.
  const sent: string[] = []
  const deliver = ({ type, from, to }: Stanza) => void sent.push(`${type} ${from} ${to}`)
  router.add({ name: 'far.example', filter: undefined, deliver })
  await server.command('add_rosteritem', {
    account: 'walt@localhost',
    contact: 'zoe@far.example',
    subscription: 'both',
  })
  sent.length = 0
  const third = await online('walt', 'three')
  await third.ping()
  assert.deepEqual(sent.splice(0), [
    'available walt@localhost/three zoe@far.example',
    'probe walt@localhost/three zoe@far.example',
  ])
  const here = await server.client('walt', { resource: 'four' })
  await here.request('set', "<block xmlns='urn:xmpp:blocking'><item jid='zoe@far.example'/></block>")
  sent.length = 0
  await available(here)
  assert.deepEqual(sent, [])
})

test('a request waits for a user who is away, at every login until it is answered', async () => {
  const carol = await online('carol')
  await server.register('dave')
  carol.send(`<presence to='dave@localhost' type='subscribe'><status>Let me in</status></presence>`)
  await carol.receive(push('dave@localhost', 'none'))
  for (const resource of ['one', 'two']) {
    const dave = await online('dave', resource)
    const request = await dave.receive(is('presence', 'carol@localhost', 'subscribe'))
    assert.equal(child(request, 'status')?.text, 'Let me in')
    if (resource === 'two') dave.send(`<presence to='carol@localhost' type='unsubscribed'/>`)
    await dave.ping()
    await dave.close()
  }
  await carol.receive(is('presence', 'dave@localhost', 'unsubscribed'))
  await carol.close()
})

test('a contact that is removed learns it, and sees nothing more', async () => {
  const erin = await online('erin')
  const frank = await online('frank')
  await befriend(erin, 'erin', frank, 'frank')
  await erin.request(
    'set',
    `<query xmlns='jabber:iq:roster'><item jid='frank@localhost' subscription='remove'/></query>`,
  )
  await frank.receive(is('presence', 'erin@localhost', 'unsubscribe'))
  await frank.receive(is('presence', 'erin@localhost/one', 'unavailable'))
  await frank.receive(push('erin@localhost', 'none'))
  await erin.close()
  await frank.close()
})

test('directed presence: who was told also learns when the session goes', async () => {
  const grace = await online('grace')
  const heidi = await online('heidi')
  grace.send(`<presence to='heidi@localhost/one'/>`)
  await heidi.receive(is('presence', 'grace@localhost/one'))
  grace.cut()
  await heidi.receive(is('presence', 'grace@localhost/one', 'unavailable'))
  await heidi.close()
})

test('a priority must be a number from -128 to 127', async () => {
  const ivan = await server.client('ivan')
  ivan.send('<presence><priority>128</priority></presence>')
  const error = await ivan.receive(el => el.name === 'presence' && el.attrs['type'] === 'error')
  assert.notEqual(child(child(error, 'error'), 'bad-request'), undefined)
  await ivan.close()
})

test('negative priority: the message waits until somebody takes messages', async () => {
  const judy = await online('judy')
  const kim = await server.client('kim', { resource: 'shy' })
  kim.send('<presence><priority>-1</priority></presence>')
  await kim.receive(is('presence', 'kim@localhost/shy'))
  judy.send(`<message to='kim@localhost' type='chat' id='w1'><body>wait</body></message>`)
  await judy.ping()
  await kim.ping()
  kim.send('<presence><priority>0</priority></presence>')
  const message = await kim.receive(is('message', 'judy@localhost/one', 'chat'))
  assert.equal(child(message, 'body')?.text, 'wait')
  assert.equal(child(message, 'delay', 'urn:xmpp:delay')?.attrs['from'], 'localhost')
  await judy.close()
  await kim.close()
})

test('who is blocked gets no message through and sees the user go', async () => {
  const lena = await online('lena')
  const mallory = await online('mallory')
  await befriend(lena, 'lena', mallory, 'mallory')
  await lena.request('set', `<block xmlns='urn:xmpp:blocking'><item jid='mallory@localhost'/></block>`)
  await mallory.receive(is('presence', 'lena@localhost/one', 'unavailable'))
  mallory.send(`<message to='lena@localhost' type='chat' id='b1'><body>hey</body></message>`)
  const error = await mallory.receive(el => el.name === 'message' && el.attrs['type'] === 'error')
  assert.notEqual(child(child(error, 'error'), 'service-unavailable'), undefined)
  lena.send(`<message to='mallory@localhost' type='chat' id='b2'><body>hey</body></message>`)
  const refused = await lena.receive(el => el.name === 'message' && el.attrs['type'] === 'error')
  assert.notEqual(child(child(refused, 'error'), 'not-acceptable'), undefined)
  await lena.request('set', `<unblock xmlns='urn:xmpp:blocking'/>`)
  await mallory.receive(is('presence', 'lena@localhost/one'))
  await lena.close()
  await mallory.close()
})

test('messages are delivered whichever modules run: who is available is no module’s business', async t => {
  const bare = await serve(t, { modules: { mod_presence: false } })
  await bare.register('nina')
  const olga = await bare.client('olga')
  const chat = (body: string) => `<message to='nina@localhost' type='chat'><body>${body}</body></message>`
  olga.send(chat('waits'))
  await olga.ping()
  const nina = await bare.client('nina')
  nina.send('<presence><priority>-1</priority></presence>')
  await nina.ping()
  nina.send('<presence/>')
  await nina.receive(says('waits'))
  olga.send(chat('at once'))
  await nina.receive(says('at once'))
  nina.send("<presence type='unavailable'/>")
  await nina.ping()
  olga.send(chat('later'))
  await nothing(nina, says('later'), olga)
  nina.send("<presence type='unavailable'/>")
  nina.send("<presence type='probe'/>")
  const error = await nina.receive(el => el.name === 'presence' && el.attrs['type'] === 'error')
  assert.notEqual(child(child(error, 'error'), 'bad-request'), undefined)
  nina.send('<presence/>')
  await nina.receive(says('later'))
})

test('a presence has so many bytes, and one that is larger changes nothing', async () => {
  const [pam, quin] = [await online('pam'), await online('quin')]
  await befriend(pam, 'pam', quin, 'quin')
  const status = (size: number) => `<status>${'x'.repeat(size)}</status>`
  for (const to of ['', `to='${quin.jid}'`]) {
    pam.send(`<presence ${to} id='big'>${status(10_240)}</presence>`)
    const error = await pam.receive(el => el.name === 'presence' && el.attrs['type'] === 'error')
    assert.notEqual(child(child(error, 'error'), 'policy-violation'), undefined)
  }
  await nothing(quin, el => child(el, 'status') !== undefined, pam)
  pam.send(`<presence>${status(9000)}</presence>`)
  await quin.receive(el => child(el, 'status')?.text.length === 9000)
})

test('presence is sent directly to so many addresses, of so many characters in all', async () => {
  const rosa = await online('rosa')
  const long = (i: number) => `${String(i).padEnd(1000, 'l')}@localhost/${'r'.repeat(1000)}`
  for (let i = 0; i < 66; i++) rosa.send(`<presence to='${long(i)}'/>`)
  const error = await rosa.receive(el => el.name === 'presence' && el.attrs['type'] === 'error')
  assert.equal(error.attrs['from'], long(65))
  assert.notEqual(child(child(error, 'error'), 'resource-constraint'), undefined)
  rosa.send(`<presence to='${long(3)}' type='unavailable'/><presence to='${long(70)}'/>`)
  await nothing(rosa, el => el.name === 'presence' && el.attrs['type'] === 'error')
})

test('who comes online with many contacts is told of them as fast as it reads', async t => {
  const crowd = await serve(t, { config: { max_ack_queue: 10 } })
  await crowd.register('sue')
  const both = (account: string, contact: string) =>
    crowd.command('add_rosteritem', { account, contact, subscription: 'both' })
  for (let i = 0; i < 40; i++) {
    const contact = await crowd.client(`c${i}`)
    await both(crowd.jid('sue'), crowd.jid(`c${i}`))
    await both(crowd.jid(`c${i}`), crowd.jid('sue'))
    await available(contact)
  }
  // Told of all at once, it would be ended at twice `max_ack_queue`.
  const phone = await crowd.client('sue')
  await phone.enable()
  const from = new Set<string>()
  phone.on('stanza', el => {
    if (el.name === 'presence' && /^c\d+@/.test(el.attrs['from']!)) from.add(el.attrs['from']!)
  })
  phone.send('<presence/>')
  await eventually(() => from.size === 40, 'presence of all')
  await phone.ping()
})
