import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { faultyStore } from '../support/faultystore.ts'
import { attrs } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { available, befriend, nothing, presenceFrom, refused, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

const NS = 'urn:xmpp:blocking'

const server = await serve({ after })

async function online(user: string, resource?: string, on: TestServer = server): Promise<RawClient> {
  const client = await on.client(user, resource === undefined ? {} : { resource })
  await available(client)
  return client
}

const items = (jids: string[]): string => jids.map(jid => `<item jid='${jid}'/>`).join('')
const block = (client: RawClient, ...jids: string[]): Promise<XmlElement> =>
  client.request('set', `<block xmlns='${NS}'>${items(jids)}</block>`)
const unblock = (client: RawClient, ...jids: string[]): Promise<XmlElement> =>
  client.request('set', `<unblock xmlns='${NS}'>${items(jids)}</unblock>`)

async function list(client: RawClient): Promise<string[]> {
  const answer = await client.request('get', `<blocklist xmlns='${NS}'/>`)
  return child(answer, 'blocklist', NS)!
    .children.map(item => item.attrs['jid']!)
    .sort()
}

const chat = (to: string, body: string): string => `<message to='${to}' type='chat'><body>${body}</body></message>`
const errorOf =
  (kind: string, from: string) =>
  (el: XmlElement): boolean =>
    el.name === kind && el.attrs['type'] === 'error' && el.attrs['from'] === from

test('the list is kept, changed and given out; who asked for it learns of changes', async () => {
  const [alice, tab, deaf] = [await online('alice'), await online('alice'), await online('alice')]
  const info = await alice.request('get', `<query xmlns='http://jabber.org/protocol/disco#info'/>`, 'localhost')
  assert.ok(info.children[0]!.children.some(feature => feature.attrs['var'] === NS))
  assert.deepEqual(await list(alice), [])
  await list(tab)
  await block(alice, 'Bob@localhost', 'spam.example')
  assert.deepEqual(await list(alice), ['bob@localhost', 'spam.example'])
  const pushed = await tab.receive(el => child(el, 'block', NS) !== undefined)
  assert.equal(pushed.attrs['type'], 'set')
  assert.deepEqual(
    child(pushed, 'block', NS)!
      .children.map(item => item.attrs['jid'])
      .sort(),
    ['bob@localhost', 'spam.example'],
  )
  await unblock(alice, 'bob@localhost')
  const undone = await tab.receive(el => child(el, 'unblock', NS) !== undefined)
  assert.deepEqual(attrs(child(undone, 'unblock', NS)!.children, 'jid'), ['bob@localhost'])
  await unblock(alice)
  const all = await tab.receive(el => child(el, 'unblock', NS) !== undefined)
  assert.deepEqual(child(all, 'unblock', NS)!.children, [])
  assert.deepEqual(await list(alice), [])
  await nothing(deaf, el => el.name === 'iq' && el.attrs['type'] === 'set', alice)
})

test('what is wrong is refused; the list is for its owner, and of nobody the answer is the same', async () => {
  const amy = await online('amy')
  await refused('bad-request', block(amy))
  await refused('jid-malformed', block(amy, 'a@b@c'))
  // An item of another namespace is none; and nothing at all would mean: all of the list.
  await block(amy, 'x@y')
  for (const name of ['block', 'unblock']) {
    const foreign = `<${name} xmlns='${NS}'><item xmlns='urn:x' jid='x@y'/></${name}>`
    await refused('bad-request', amy.request('set', foreign))
  }
  await amy.request('set', `<block xmlns='${NS}'><item jid='z@y'/><why xmlns='urn:x'/></block>`)
  assert.deepEqual(await list(amy), ['x@y', 'z@y'])
  for (const to of ['alice@localhost', 'nobody@localhost']) {
    await refused('forbidden', amy.request('get', `<blocklist xmlns='${NS}'/>`, to))
    await refused('forbidden', amy.request('set', `<block xmlns='${NS}'><item jid='x@y'/></block>`, to))
    await refused('forbidden', amy.request('set', `<unblock xmlns='${NS}'/>`, to))
  }
})

test('so many can be blocked and no more', async t => {
  const small = await serve(t, { modules: { mod_blocking: { max_items: 3 } } })
  const ben = await online('ben', undefined, small)
  await block(ben, 'a@x', 'b@x', 'c@x')
  await refused('not-allowed', block(ben, 'd@x'))
  await block(ben, 'a@x') // is there already
  assert.deepEqual(await list(ben), ['a@x', 'b@x', 'c@x'])
  const bea = await online('bea')
  const long = (i: number) => `${String(i).padEnd(1000, 'l')}@x/${'r'.repeat(1000)}`
  await block(bea, ...Array.from({ length: 100 }, (_, i) => long(i)))
  await refused('not-allowed', block(bea, ...Array.from({ length: 40 }, (_, i) => long(200 + i))))
  assert.equal((await list(bea)).length, 100)
  const account = server.server.host('localhost')!.accounts.get('bea')!
  assert.ok(account.weight > 200_000)
  await unblock(bea)
  assert.equal(account.weight, 0)
})

test('whatever a blocked client asks, the answer is that of an account that does not exist', async () => {
  const [vic, spy] = [await online('hidden-vic'), await online('hidden-spy')]
  await block(vic, 'hidden-spy@localhost')
  const answer = async (type: 'get' | 'set', payload: string, to: string): Promise<string> => {
    try {
      await spy.request(type, payload, to)
      return 'a result'
    } catch (error) {
      return String(error)
    }
  }
  const inner = [
    '',
    "<items node='x'/>",
    "<publish node='x'/>",
    "<subscribe node='x' jid='hidden-spy@localhost'/>",
    '<default/>',
  ]
  for (const { target, type, ns, name } of server.server.host('localhost')!.iq) {
    if (target !== 'account') continue
    for (const child of inner) {
      const payload = `<${name} xmlns='${ns}'>${child}</${name}>`
      for (const resource of ['', '/there', '/not-there']) {
        const [blocker, nobody] = [`hidden-vic@localhost${resource}`, `nobody@localhost${resource}`]
        const told = await answer(type as 'get' | 'set', payload, blocker)
        assert.equal(told, await answer(type as 'get' | 'set', payload, nobody), `${type} ${payload} ${resource}`)
      }
    }
  }
  await nothing(vic, el => el.attrs['from']?.startsWith('hidden-spy@') === true, spy)
})

test('of a blocked contact nothing comes in: messages and iqs get an error, presence gets silence', async () => {
  const [cat, eve] = [await online('cat'), await online('eve')]
  await befriend(cat, eve)
  await block(cat, 'eve@localhost')
  await eve.receive(presenceFrom(cat.jid, 'unavailable'))
  for (const to of ['cat@localhost', cat.jid]) {
    eve.send(chat(to, 'let me in'))
    assert.equal(errorCondition(await eve.receive(errorOf('message', to))), 'service-unavailable')
    // What a contact would be told, and what anybody would.
    await refused('forbidden', eve.request('get', "<query xmlns='jabber:iq:last'/>", to))
    for (const ns of ['http://jabber.org/protocol/disco#info', 'urn:xmpp:ping', 'vcard-temp']) {
      const name = ns === 'urn:xmpp:ping' ? 'ping' : ns === 'vcard-temp' ? 'vCard' : 'query'
      await refused('service-unavailable', eve.request('get', `<${name} xmlns='${ns}'/>`, to))
    }
    for (const type of ['', `type='probe'`, `type='subscribe'`, `type='unsubscribe'`]) {
      eve.send(`<presence to='${to}' ${type}/>`)
    }
    eve.send(`<iq to='${to}' type='result' id='r1'/>`)
  }
  eve.send('<presence><show>away</show></presence>')
  await nothing(cat, el => el.attrs['from']?.startsWith('eve@localhost') === true, eve)
  await nothing(eve, el => el.name === 'presence' && el.attrs['from']?.startsWith('cat@') === true, cat)
  // Its unsubscribe did not come in either: the subscription is as before.
  await unblock(cat, 'eve@localhost')
  await eve.receive(presenceFrom(cat.jid))
  eve.send(chat('cat@localhost', 'and now'))
  await cat.receive(says('and now'))
})

test('to a blocked contact nothing goes out', async () => {
  const [dan, eva] = [await online('dan'), await online('eva')]
  await befriend(dan, eva)
  await block(dan, 'eva@localhost')
  await eva.receive(presenceFrom(dan.jid, 'unavailable'))
  dan.send(chat('eva@localhost', 'psst'))
  const error = await dan.receive(errorOf('message', 'eva@localhost'))
  assert.equal(errorCondition(error), 'not-acceptable')
  assert.equal(child(error, 'error')!.attrs['type'], 'cancel')
  assert.ok(child(child(error, 'error'), 'blocked', 'urn:xmpp:blocking:errors'))
  await refused('not-acceptable', dan.request('get', `<query xmlns='jabber:iq:version'/>`, eva.jid))
  dan.send(`<presence to='${eva.jid}'/>`)
  assert.equal(errorCondition(await dan.receive(errorOf('presence', eva.jid))), 'not-acceptable')
  dan.send('<presence><show>dnd</show></presence>')
  await nothing(eva, el => el.attrs['from']?.startsWith('dan@') === true, dan)
  await dan.close()
  await nothing(eva, el => el.attrs['from']?.startsWith('dan@') === true)
})

test('who is blocked and comes online sees nobody, and nobody is told', async () => {
  const [fay, gus] = [await online('fay'), await online('gus')]
  await befriend(fay, gus)
  await block(fay, 'gus@localhost')
  await gus.close()
  const back = await online('gus')
  await nothing(back, el => el.attrs['from']?.startsWith('fay@') === true, fay)
  await nothing(fay, presenceFrom(back.jid), back)
})

test('an address with a resource means that client alone', async () => {
  const [hal, phone, desk] = [await online('hal'), await online('ivy', 'phone'), await online('ivy', 'desk')]
  await befriend(hal, desk)
  await block(hal, phone.jid)
  phone.send(chat('hal@localhost', 'from the phone'))
  await phone.receive(errorOf('message', 'hal@localhost'))
  phone.send('<presence><show>xa</show></presence>')
  await nothing(hal, el => el.name === 'presence' && child(el, 'show')?.text === 'xa', phone)
  desk.send(chat('hal@localhost', 'from the desk'))
  await hal.receive(says('from the desk'))
  // XEP-0191 3.3: that client sees the user go, and hears no more; the others do.
  await phone.receive(presenceFrom(hal.jid, 'unavailable'))
  hal.send('<presence><show>dnd</show></presence>')
  await desk.receive(el => presenceFrom(hal.jid)(el) && child(el, 'show')?.text === 'dnd')
  await nothing(phone, el => presenceFrom(hal.jid)(el) && child(el, 'show')?.text === 'dnd', hal)
  await nothing(desk, presenceFrom(hal.jid, 'unavailable'), hal)
  await unblock(hal, phone.jid)
  await phone.receive(el => presenceFrom(hal.jid)(el) && child(el, 'show')?.text === 'dnd')
  await hal.receive(el => presenceFrom(phone.jid)(el) && child(el, 'show')?.text === 'xa')
})

test('who is blocked no longer is seen again, as they are by then', async () => {
  const [pat, ray] = [await online('pat'), await online('ray')]
  await befriend(pat, ray)
  await block(pat, 'ray@localhost')
  await ray.receive(presenceFrom(pat.jid, 'unavailable'))
  ray.send('<presence><show>xa</show></presence>')
  await nothing(pat, el => child(el, 'show')?.text === 'xa', ray)
  await unblock(pat, 'ray@localhost')
  await pat.receive(el => presenceFrom(ray.jid)(el) && child(el, 'show')?.text === 'xa')
  await ray.receive(presenceFrom(pat.jid))
})

test('presence that was sent to somebody directly is withdrawn when they are blocked', async () => {
  const [ada, bob, cy] = [await online('ada'), await online('bob'), await online('cy')]
  for (const to of [bob.jid, cy.jid]) ada.send(`<presence to='${to}'/>`)
  await bob.receive(presenceFrom(ada.jid))
  await cy.receive(presenceFrom(ada.jid))
  await block(ada, 'bob@localhost')
  await bob.receive(presenceFrom(ada.jid, 'unavailable'))
  await ada.close()
  // Once: the other one, who is not blocked, learns it now.
  await cy.receive(presenceFrom(ada.jid, 'unavailable'))
  await nothing(bob, el => el.attrs['from'] === ada.jid, cy)
})

test('a contact that was blocked already is not told again when its domain is', async () => {
  const [lea, max] = [await online('lea'), await online('max')]
  await befriend(lea, max)
  await block(lea, 'max@localhost')
  await max.receive(presenceFrom(lea.jid, 'unavailable'))
  await block(lea, 'localhost', max.jid)
  await nothing(max, el => el.attrs['from'] === lea.jid, lea)
})

test('a domain means everybody there, but not one’s own clients, nor the server', async () => {
  const [jo, tab, kim] = [await online('jo'), await online('jo'), await online('kim')]
  await befriend(jo, kim)
  await block(jo, 'localhost')
  await kim.receive(presenceFrom(jo.jid, 'unavailable'))
  kim.send(chat('jo@localhost', 'hello'))
  assert.equal(errorCondition(await kim.receive(errorOf('message', 'jo@localhost'))), 'service-unavailable')
  tab.send(chat(jo.jid, 'note to self'))
  await jo.receive(says('note to self'))
  await jo.ping()
  await unblock(jo)
  await kim.receive(presenceFrom(jo.jid))
})

test('a contact that is blocked twice and unblocked once stays blocked', async () => {
  const [leo, mia] = [await online('leo'), await online('mia')]
  await befriend(leo, mia)
  await block(leo, 'mia@localhost', 'localhost')
  await mia.receive(presenceFrom(leo.jid, 'unavailable'))
  await unblock(leo, 'mia@localhost')
  await nothing(mia, el => el.attrs['from']?.startsWith('leo@') === true, leo)
})

test('a list that cannot be read lets nothing through, until it can', async t => {
  const { store, troubles } = faultyStore({ only: 'blocking' })
  const weak = await serve(t, { store })
  const [ned, oda] = [await online('ned', undefined, weak), await online('oda', undefined, weak)]
  await block(ned, 'oda@localhost')
  await weak.register('pia')
  troubles.failReads = true
  oda.send(chat('pia@localhost', 'anybody'))
  const error = await oda.receive(errorOf('message', 'pia@localhost'))
  assert.equal(child(error, 'error')!.attrs['type'], 'wait')
  troubles.failReads = false
  oda.send(chat('pia@localhost', 'again'))
  await oda.ping()
  const pia = await online('pia', undefined, weak)
  await pia.receive(says('again'))
})

test('what could not be stored is not done', async t => {
  const { store, troubles } = faultyStore({ only: 'blocking' })
  const weak = await serve(t, { store })
  const [qi, ron] = [await online('qi', undefined, weak), await online('ron', undefined, weak)]
  await befriend(qi, ron)
  await list(qi)
  troubles.failWrites = true
  await assert.rejects(block(qi, 'ron@localhost'), /iq error/)
  assert.deepEqual(await list(qi), [])
  ron.send(chat('qi@localhost', 'still there?'))
  await qi.receive(says('still there?'))
  await nothing(qi, el => child(el, 'block', NS) !== undefined)
  await nothing(ron, presenceFrom(qi.jid, 'unavailable'), qi)
  troubles.failWrites = false
  await block(qi, 'ron@localhost')
  troubles.failWrites = true
  await assert.rejects(unblock(qi, 'ron@localhost'), /iq error/)
  assert.deepEqual(await list(qi), ['ron@localhost'])
  ron.send(chat('qi@localhost', 'blocked'))
  await ron.receive(errorOf('message', 'qi@localhost'))
})
