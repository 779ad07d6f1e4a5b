/** XEP-0356: what a component may do in the name of users, and what it may not. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { RawComponent } from '../support/rawcomponent.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { available, befriend, copyOf, nothing, online, presenceFrom, refused, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

const NAME = 'gate.localhost'
const OTHER = 'other.localhost'
const NS = 'urn:xmpp:privilege:2'
const ROSTER = 'jabber:iq:roster'
const PUBSUB = 'http://jabber.org/protocol/pubsub'
const hosts = { [NAME]: { password: 'secret' }, [OTHER]: { password: 'secret' } }

const granting = (grants: object, more: object = {}) => ({
  hosts: ['localhost', 'verona.example'],
  component: { hosts },
  modules: { mod_privilege: { entities: { [NAME]: grants } } },
  hostModules: { 'verona.example': { mod_privilege: false as const } },
  ...more,
})
const login = (server: TestServer, name = NAME) => RawComponent.login({ port: server.componentPort, name })

async function gate(t: TestContext, grants: object) {
  const server = await serve(t, granting(grants))
  const component = await login(server)
  const [romeo] = await online(server, 'romeo')
  return { server, component, romeo }
}

const isAdvert = (el: XmlElement) => child(el, 'privilege', NS) !== undefined && el.attrs['type'] === undefined
/** What the component is told that it may do, one word each. */
async function told(component: RawComponent): Promise<string[]> {
  const privilege = child(await component.receive(isAdvert), 'privilege', NS)!
  return privilege.children.map(({ attrs, children }) => {
    const namespaces = children.map(({ attrs: { ns, type } }) => `${ns}=${type}`)
    return [attrs['access'], attrs['type'], attrs['push'], ...namespaces].filter(Boolean).join(' ')
  })
}
const items = (query: XmlElement | undefined) =>
  query!.children.map(({ attrs, children }) => [
    attrs['jid'],
    attrs['name'],
    attrs['subscription'],
    children.map(({ text }) => text).join(),
  ])
const roster = (items = '') => `<query xmlns='${ROSTER}'>${items}</query>`
const ITEM = `<item jid='friend@${NAME}' name='Friend' subscription='both'><group>Gate</group></item>`

describe('what it may do', () => {
  test('it is told when it logs in, and when that changes', async t => {
    const grants = { roster: 'both', message: 'outgoing', presence: 'managed_entity', iq: { [PUBSUB]: 'set' } }
    const server = await serve(t, granting(grants))
    const other = await login(server, OTHER)
    const component = await login(server)
    assert.deepEqual(await told(component), [
      'roster both true',
      'message outgoing',
      `iq ${PUBSUB}=set`,
      'presence managed_entity',
    ])
    await server.reload(granting({ roster: 'get', push: false }))
    assert.deepEqual(await told(component), ['roster none', 'message none', 'presence none', `iq ${PUBSUB}=none`])
    assert.deepEqual(await told(component), ['roster get false'])
    await assert.rejects(other.receive(isAdvert, 1))
  })

  test('must make sense', async t => {
    await assert.rejects(serve(t, granting({ presence: 'roster', roster: 'set' })), /presence: roster needs roster/)
  })
})

describe('rosters', () => {
  test('are read and changed as by the user; the subscription of its own contacts is what it says', async t => {
    const { component, romeo } = await gate(t, { roster: 'both' })
    await romeo.request('get', roster())
    await component.request('set', roster(ITEM), 'romeo@localhost')
    const push = await romeo.receive(el => el.name === 'iq' && child(el, 'query', ROSTER) !== undefined)
    assert.deepEqual(items(child(push, 'query')), [[`friend@${NAME}`, 'Friend', 'both', 'Gate']])
    const answer = await component.request('get', roster(), 'romeo@localhost')
    assert.equal(answer.attrs['from'], 'romeo@localhost')
    assert.deepEqual(items(child(answer, 'query')), [[`friend@${NAME}`, 'Friend', 'both', 'Gate']])
    // The contact sees the user from now on.
    const seen = await component.receive(el => el.name === 'presence' && el.attrs['to'] === `friend@${NAME}`)
    assert.equal(seen.attrs['from'], romeo.jid)
    await component.request('set', roster(`<item jid='friend@${NAME}' subscription='remove'/>`), 'romeo@localhost')
    const removal = await romeo.receive(el => el.name === 'iq' && child(el, 'query', ROSTER) !== undefined)
    assert.equal(items(child(removal, 'query'))[0]![2], 'remove')
  })

  test('of contacts elsewhere the subscription is no matter of the component', async t => {
    const { component, server } = await gate(t, { roster: 'both' })
    await server.register('juliet')
    for (const jid of ['juliet@localhost', 'paris@elsewhere.example', `friend@${OTHER}`]) {
      await component.request('set', roster(`<item jid='${jid}' subscription='both'/>`), 'romeo@localhost')
    }
    const answer = await component.request('get', roster(), 'romeo@localhost')
    for (const [, , subscription] of items(child(answer, 'query'))) assert.equal(subscription, 'none')
  })

  test('changes are told, whoever makes them', async t => {
    const { component, romeo } = await gate(t, { roster: 'get' })
    await romeo.request('set', roster("<item jid='juliet@localhost' name='Juliet'/>"))
    const push = await component.receive(el => el.name === 'iq' && child(el, 'query', ROSTER) !== undefined)
    assert.deepEqual([push.attrs['type'], push.attrs['from'], push.attrs['to']], ['set', 'romeo@localhost', NAME])
    assert.deepEqual(items(child(push, 'query')), [['juliet@localhost', 'Juliet', 'none', '']])
  })

  test('changes are not told where that was not wanted, or it may not read them', async t => {
    for (const grants of [{ roster: 'both', push: false }, { roster: 'set' }, { roster: 'none' }]) {
      const { component, romeo } = await gate(t, grants)
      await romeo.request('set', roster("<item jid='juliet@localhost'/>"))
      await component.ping()
      await assert.rejects(component.receive(el => child(el, 'query', ROSTER) !== undefined, 1))
    }
  })

  test('are out of reach for who may not', async t => {
    const { component, server } = await gate(t, { roster: 'get' })
    await refused('forbidden', component.request('set', roster(ITEM), 'romeo@localhost'))
    await refused('forbidden', component.request('get', roster(), 'nobody@localhost'))
    // A host that has granted it nothing; somebody at the component; another component.
    await server.server.host('verona.example')!.users.create('juliet', 'secret')
    await refused('forbidden', component.request('get', roster(), 'juliet@verona.example'))
    await refused('forbidden', component.request('get', roster(), 'romeo@localhost', `user@${NAME}`))
    const other = await login(server, OTHER)
    await refused('forbidden', other.request('get', roster(), 'romeo@localhost'))
    await refused('forbidden', other.request('set', roster(ITEM), 'romeo@localhost'))
    const setter = await gate(t, { roster: 'set' })
    await refused('forbidden', setter.component.request('get', roster(), 'romeo@localhost'))
    await setter.component.request('set', roster(ITEM), 'romeo@localhost')
  })

  test('bad items change nothing', async t => {
    const { component } = await gate(t, { roster: 'both' })
    const set = (items: string) => component.request('set', roster(items), 'romeo@localhost')
    await refused('bad-request', set(''))
    await refused('bad-request', set("<item name='nobody'/>"))
    await refused('not-allowed', set(`${ITEM}<item jid='romeo@localhost'/>`))
    await refused('bad-request', set(ITEM.repeat(101)))
    assert.deepEqual(items(child(await component.request('get', roster(), 'romeo@localhost'), 'query')), [])
  })
})

describe('messages', () => {
  const wrap = (inner: string, to = 'localhost', id = 'm1') =>
    `<message to='${to}' id='${id}'><privilege xmlns='${NS}'><forwarded xmlns='urn:xmpp:forward:0'>${inner}</forwarded></privilege></message>`
  const from = (sender: string, to = 'juliet@localhost', body = 'hello') =>
    `<message xmlns='jabber:client' from='${sender}' to='${to}' type='chat' id='x'><body>${body}</body></message>`
  const errorOf = async (component: RawComponent) =>
    errorCondition(await component.receive(el => el.attrs['type'] === 'error' && el.name === 'message'))

  test('go out in the name of a user: to the recipient, to the user’s own clients, into both archives', async t => {
    const { component, romeo, server } = await gate(t, { message: 'outgoing' })
    const juliet = await server.client('juliet')
    await available(juliet)
    await romeo.request('set', "<enable xmlns='urn:xmpp:carbons:2'/>")
    component.send(wrap(from('romeo@localhost')))
    assert.equal((await juliet.receive(says('hello'))).attrs['from'], 'romeo@localhost')
    await romeo.receive(copyOf('sent', 'hello'))
    const archive = async (client: typeof romeo) => {
      await client.request('set', "<query xmlns='urn:xmpp:mam:2' queryid='q'/>")
      return client.receive(el => child(el, 'result', 'urn:xmpp:mam:2') !== undefined)
    }
    await archive(romeo)
    await archive(juliet)
  })

  test('to a contact of the component itself come back to it, and to the user’s clients as sent', async t => {
    const { component, romeo } = await gate(t, { message: 'outgoing' })
    await romeo.request('set', "<enable xmlns='urn:xmpp:carbons:2'/>")
    component.send(wrap(from('romeo@localhost', `friend@${NAME}`, 'from my phone')))
    await component.receive(says('from my phone'))
    await romeo.receive(copyOf('sent', 'from my phone'))
    await romeo.request('set', "<query xmlns='urn:xmpp:mam:2' queryid='q'/>")
    await romeo.receive(el => child(el, 'result', 'urn:xmpp:mam:2') !== undefined)
  })

  test('and in the name of the host', async t => {
    const { component, romeo } = await gate(t, { message: 'outgoing' })
    component.send(wrap(from('localhost', 'romeo@localhost')))
    assert.equal((await romeo.receive(says('hello'))).attrs['from'], 'localhost')
  })

  test('are refused in the name of anybody else', async t => {
    const { component, romeo, server } = await gate(t, { message: 'outgoing' })
    await server.server.host('verona.example')!.users.create('paris', 'secret')
    for (const sender of [
      romeo.jid,
      'nobody@localhost',
      'paris@verona.example',
      'verona.example',
      'paris@elsewhere.example',
      `friend@${NAME}`,
      OTHER,
      '@',
    ]) {
      component.send(wrap(from(sender, 'romeo@localhost')))
      assert.equal(await errorOf(component), 'forbidden', sender)
    }
    await nothing(romeo, says('hello'))
  })

  test('are refused where there is none, or more than one, or it is no message', async t => {
    const { component, romeo } = await gate(t, { message: 'outgoing' })
    const one = from('localhost', 'romeo@localhost')
    for (const inner of [
      '',
      one + one,
      one.replace("xmlns='jabber:client'", "xmlns='jabber:server'"),
      "<presence xmlns='jabber:client' from='localhost' to='romeo@localhost'/>",
      one.replace("to='romeo@localhost'", ''),
    ]) {
      component.send(wrap(inner))
      assert.equal(await errorOf(component), 'bad-request', inner)
    }
    component.send(wrap(one.replace('romeo@localhost', '@')))
    assert.equal(await errorOf(component), 'jid-malformed')
    await nothing(romeo, says('hello'))
  })

  test('are refused to who may not, and to who asks another host', async t => {
    const { component, romeo, server } = await gate(t, { roster: 'both' })
    component.send(wrap(from('romeo@localhost')))
    assert.equal(await errorOf(component), 'forbidden')
    const granted = await gate(t, { message: 'outgoing' })
    granted.component.send(wrap(from('romeo@localhost'), 'verona.example'))
    assert.equal(await errorOf(granted.component), 'service-unavailable')
    const other = await login(granted.server, OTHER)
    other.send(wrap(from('romeo@localhost', 'romeo@localhost')))
    assert.equal(await errorOf(other), 'forbidden')
    // A user of the host cannot do it either, nor who sends from an address of the component.
    granted.romeo.send(wrap(from('romeo@localhost')))
    await granted.romeo.receive(el => errorCondition(el) === 'forbidden')
    granted.component.send(wrap(from('romeo@localhost')), `friend@${NAME}`)
    assert.equal(await errorOf(granted.component), 'forbidden')
    await nothing(romeo, says('hello'))
    assert.ok(server)
  })
})

describe('iqs', () => {
  const publish = `<pubsub xmlns='${PUBSUB}'><publish node='urn:x'><item id='1'><x xmlns='urn:x'/></item></publish></pubsub>`
  const read = `<pubsub xmlns='${PUBSUB}'><items node='urn:x'/></pubsub>`
  const inner = (type: string, payload: string, attrs = '') =>
    `<privileged_iq xmlns='${NS}'><iq xmlns='jabber:client' type='${type}' id='in' ${attrs}>${payload}</iq></privileged_iq>`
  const forwarded = (answer: XmlElement) =>
    child(child(child(answer, 'privilege', NS), 'forwarded', 'urn:xmpp:forward:0'), 'iq', 'jabber:client')

  test('are asked in the name of a user, and what is answered comes back', async t => {
    const { component, romeo } = await gate(t, { iq: { [PUBSUB]: 'both' } })
    const answer = await component.request('set', inner('set', publish, "from='romeo@localhost'"), 'romeo@localhost')
    const iq = forwarded(answer)
    assert.deepEqual([iq?.attrs['type'], iq?.attrs['id'], iq?.attrs['to']], ['result', 'in', 'romeo@localhost'])
    await romeo.request('get', read)
    assert.ok(
      child(child(forwarded(await component.request('get', inner('get', read), 'romeo@localhost')), 'pubsub'), 'items'),
    )
  })

  test('to others too, where an error is one for the component, with the answer in it', async t => {
    const { component, server } = await gate(t, { iq: { [PUBSUB]: 'get' } })
    const [juliet] = await online(server, 'juliet')
    await juliet.request('set', publish)
    const id = 'asks'
    component.send(`<iq type='get' id='${id}' to='romeo@localhost'>${inner('get', read, "to='juliet@localhost'")}</iq>`)
    const answer = await component.receive(el => el.attrs['id'] === id && el.name === 'iq')
    assert.equal(answer.attrs['type'], 'error')
    assert.equal(errorCondition(answer), errorCondition(forwarded(answer)!))
    assert.equal(errorCondition(answer), 'not-authorized')
  })

  test('may be for the component itself, which is not kept waiting, and so many at a time', async t => {
    const { component, romeo } = await gate(t, { iq: { 'urn:x': 'get' } })
    const payload = inner('get', "<x xmlns='urn:x'/>", `to='friend@${NAME}'`)
    const isAsked = (el: XmlElement) => el.name === 'iq' && el.attrs['to'] === `friend@${NAME}`
    for (let i = 0; i <= 1000; i++) component.send(`<iq type='get' id='p${i}' to='romeo@localhost'>${payload}</iq>`)
    const refusal = await component.receive(el => el.attrs['id'] === 'p1000')
    assert.equal(errorCondition(refusal), 'resource-constraint')
    const asked = await component.receive(isAsked)
    assert.equal(asked.attrs['from'], 'romeo@localhost')
    component.send(
      `<iq type='result' id='${asked.attrs['id']}' to='romeo@localhost'><y xmlns='urn:x'/></iq>`,
      `friend@${NAME}`,
    )
    const answer = await component.receive(el => el.attrs['id'] === 'p0' && el.attrs['type'] === 'result')
    assert.equal(forwarded(answer)?.attrs['from'], `friend@${NAME}`)
    await romeo.ping()
  })

  test('are refused as XEP-0356 6.3 has it', async t => {
    const { component, romeo, server } = await gate(t, { iq: { [PUBSUB]: 'set', 'urn:none': 'none' } })
    const ask = (type: 'get' | 'set', payload: string, to = 'romeo@localhost', from?: string) =>
      refused('forbidden', component.request(type, payload, to, from))
    await ask('get', inner('get', read)) // the type is not granted
    await ask('set', inner('set', "<query xmlns='jabber:iq:private'/>")) // nor is the namespace
    await ask('set', inner('set', "<query xmlns='urn:none'/>"))
    await ask('set', inner('set', "<query xmlns='toString'/>"))
    await ask('set', inner('get', publish)) // two types
    await ask('set', inner('set', publish), 'nobody@localhost')
    await ask('set', inner('set', publish, "from='juliet@localhost'"))
    await ask('set', inner('set', publish, `from='${romeo.jid}'`))
    await ask('set', inner('set', publish).replace('jabber:client', 'jabber:server'))
    await ask('set', inner('set', publish), 'romeo@localhost', `friend@${NAME}`)
    await refused('bad-request', component.request('set', `<privileged_iq xmlns='${NS}'/>`, 'romeo@localhost'))
    const other = await login(server, OTHER)
    await refused('forbidden', other.request('set', inner('set', publish), 'romeo@localhost'))
    await refused('forbidden', romeo.request('set', inner('set', publish), 'romeo@localhost'))
    await refused('service-unavailable', component.request('set', inner('set', publish), 'romeo@verona.example'))
  })

  test('get what a client of the user alone may have from nobody', async t => {
    const { component } = await gate(t, { iq: { 'jabber:iq:private': 'both', 'jabber:iq:register': 'both' } })
    for (const payload of [
      "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>",
      "<query xmlns='jabber:iq:register'><remove/></query>",
    ]) {
      await assert.rejects(
        component.request('set', inner('set', payload), 'romeo@localhost'),
        /forbidden|service-unavailable/,
      )
    }
  })
})

describe('presence', () => {
  const comes = (jid: string, type?: string) => presenceFrom(jid, type)

  test('of users: when they come and when they go, and nothing in between', async t => {
    const server = await serve(t, granting({ presence: 'managed_entity' }))
    const [early] = await online(server, 'early')
    const component = await login(server)
    await component.receive(comes(early.jid))
    const romeo = await server.client('romeo')
    await available(romeo, '<presence><show>chat</show></presence>')
    const first = await component.receive(comes(romeo.jid))
    assert.deepEqual([child(first, 'show')?.text, first.attrs['to']], ['chat', NAME])
    await available(romeo, '<presence><show>away</show></presence>')
    romeo.send("<presence type='unavailable'/>")
    await component.receive(comes(romeo.jid, 'unavailable'))
    await assert.rejects(component.receive(comes(romeo.jid), 1))
    early.cut()
    await component.receive(comes(early.jid, 'unavailable'))
  })

  test('of users is for nobody else', async t => {
    const { romeo, server } = await gate(t, { roster: 'both' })
    const other = await login(server, OTHER)
    await available(romeo)
    await other.ping()
    await assert.rejects(other.receive(comes(romeo.jid), 1))
  })

  test('of contacts of users that are elsewhere, once, and for an entity that comes later', async t => {
    const server = await serve(t, granting({ roster: 'get', presence: 'roster' }))
    const romeo = await server.client('romeo')
    const nurse = await server.client('nurse')
    const paris = await server.client('paris', { host: 'verona.example' })
    for (const client of [romeo, nurse, paris]) await available(client)
    await befriend(romeo, paris)
    await befriend(nurse, paris)
    const component = await login(server)
    await component.receive(comes(paris.jid))
    await component.ping()
    await assert.rejects(component.receive(comes(paris.jid), 1))
    paris.send("<presence type='unavailable'/>")
    await component.receive(comes(paris.jid, 'unavailable'))
    await romeo.receive(comes(paris.jid, 'unavailable'))
    await nurse.receive(comes(paris.jid, 'unavailable'))
    await component.ping()
    await assert.rejects(component.receive(comes(paris.jid, 'unavailable'), 1))
    // Strangers are no contacts.
    const stranger = await server.client('stranger', { host: 'verona.example' })
    stranger.send("<presence to='romeo@localhost'/>")
    await romeo.receive(comes(stranger.jid))
    await component.ping()
    await assert.rejects(component.receive(comes(stranger.jid), 1))
  })
})
