import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { NS, xml } from '../../src/xml/index.ts'
import { Jid } from '../../src/xmpp/jid.ts'
import { offered, run } from '../support/commands.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition } from '../support/rawxml.ts'
import { available, befriend, refused, says } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'
import { TwoServers } from '../support/twoservers.ts'

const [ROMEO, JULIET] = ['romeo@montague.example', 'juliet@capulet.example']
const INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
const ITEMS = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
const VCARD = "<vCard xmlns='vcard-temp'/>"
const LAST = "<query xmlns='jabber:iq:last'/>"
const ADMIN = 'http://jabber.org/protocol/admin#'

async function online(server: TestServer, user: string, resource = 'one'): Promise<RawClient> {
  const client = await server.client(user, { resource })
  await available(client)
  return client
}

async function lovers(t: TestContext, capulet: TestOptions = {}) {
  const two = await TwoServers.start(t, { capulet })
  return { two, romeo: await online(two.montague, 'romeo'), juliet: await online(two.capulet, 'juliet') }
}

test('a server answers people of another one what it answers anybody: ping, version, time, uptime, what it can do', async t => {
  const { romeo } = await lovers(t)
  for (const payload of [
    "<ping xmlns='urn:xmpp:ping'/>",
    "<query xmlns='jabber:iq:version'/>",
    "<time xmlns='urn:xmpp:time'/>",
    LAST,
    INFO,
    ITEMS,
  ]) {
    const answer = await romeo.request('get', payload, 'capulet.example')
    assert.equal(answer.attrs['from'], 'capulet.example')
    assert.equal(answer.attrs['to'], romeo.jid)
  }
})

test('of an account a stranger of another server learns what it learns of one that does not exist; a contact more', async t => {
  const { romeo, juliet } = await lovers(t)
  const ask = async (to: string, payload: string): Promise<string> => {
    romeo.send(`<iq type='get' id='ask' to='${to}'>${payload}</iq>`)
    const { attrs, children } = await romeo.receive(el => el.name === 'iq' && el.attrs['id'] === 'ask')
    return JSON.stringify([attrs['type'], children])
  }
  const asked = [
    INFO,
    ITEMS,
    LAST,
    VCARD,
    "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'/>",
    "<ping xmlns='urn:xmpp:ping'/>",
  ]
  for (const payload of asked) {
    for (const resource of ['', '/gone']) {
      const nobody = await ask(`nobody@capulet.example${resource}`, payload)
      assert.equal(await ask(JULIET + resource, payload), nobody, payload)
    }
  }
  await befriend(romeo, juliet)
  const info = await romeo.request('get', INFO, JULIET)
  assert.ok(child(info, 'query')!.children.some(({ attrs }) => attrs['type'] === 'registered'))
  const items = await romeo.request('get', ITEMS, JULIET)
  assert.deepEqual(
    child(items, 'query')!.children.map(({ attrs }) => attrs['jid']),
    [juliet.jid],
  )
  assert.equal(child(await romeo.request('get', LAST, JULIET), 'query')?.attrs['seconds'], '0')
})

test('a vCard is for everybody, or for contacts', async t => {
  const { two, romeo, juliet } = await lovers(t)
  await juliet.request('set', "<vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard>")
  const name = async (): Promise<string | undefined> => {
    const answer = await romeo.request('get', VCARD, JULIET)
    return child(child(answer, 'vCard'), 'FN')?.text
  }
  assert.equal(await name(), 'Juliet')
  await two.reload('capulet', { mod_vcard: { privacy: 'contacts' } })
  await refused('service-unavailable', name())
  await befriend(romeo, juliet)
  assert.equal(await name(), 'Juliet')
})

test('clients of two servers ask each other; the answer comes to the client that asked', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const tab = await online(two.montague, 'romeo', 'two')
  romeo.send(`<iq type='get' id='v' to='${juliet.jid}'><query xmlns='jabber:iq:version'/></iq>`)
  const question = await juliet.receive(el => child(el, 'query', 'jabber:iq:version') !== undefined)
  assert.deepEqual([question.attrs['from'], question.attrs['id']], [romeo.jid, 'v'])
  juliet.send(`<iq type='result' id='v' to='${romeo.jid}'><query xmlns='jabber:iq:version'><name>x</name></query></iq>`)
  const answer = await romeo.receive(el => el.attrs['id'] === 'v')
  assert.equal(answer.attrs['from'], juliet.jid)
  await two.nothing(tab, el => el.attrs['id'] === 'v')
})

test('who asks a server that is not there, or cannot be reached, is told so', async t => {
  const { two, romeo } = await lovers(t)
  await refused('remote-server-not-found', romeo.request('get', INFO, 'nowhere.example'))
  two.cut('remote-server-timeout')
  await refused('remote-server-timeout', romeo.request('get', INFO, 'capulet.example'))
})

test('answers that nobody waits for, or from somebody else than was asked, go nowhere and are not answered', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const host = two.capulet.server.host('capulet.example')!
  const came = two.arrivals('montague')
  romeo.options.autoPong = false
  const { requests, jid } = host
  const answer = requests.ask(jid, Jid.from(romeo.jid), 'get', xml('ping', { xmlns: NS.PING }), 5000)
  const question = await romeo.receive(el => child(el, 'ping') !== undefined)
  for (const from of ['tybalt@montague.example/x', ROMEO, 'montague.example']) {
    two.send(`<iq type='result' from='${from}' to='capulet.example' id='${question.attrs['id']}'/>`)
  }
  for (const to of [JULIET, 'capulet.example', 'nobody@capulet.example', `${JULIET}/gone`]) {
    for (const type of ['result', 'error']) two.send(`<iq type='${type}' from='${ROMEO}/x' to='${to}' id='unknown'/>`)
  }
  await two.settled(juliet)
  romeo.send(`<iq type='result' to='capulet.example' id='${question.attrs['id']}'><mine xmlns='urn:x'/></iq>`)
  assert.equal((await answer)?.from.toString(), romeo.jid)
  assert.deepEqual(
    came.filter(line => line.includes(`${ROMEO}/x`)),
    [],
  )
})

test('the administrator of one server is nobody at another, whatever the name', async t => {
  const { two, juliet } = await lovers(t, { config: { acl: { admin: { user: ['admin@capulet.example'] } } } })
  const own = await online(two.capulet, 'admin')
  const other = await online(two.montague, 'admin')
  assert.ok((await offered(own)).length > 20)
  assert.deepEqual(await offered(other, 'capulet.example'), [])
  for (const node of [
    `${ADMIN}get-online-users-num`,
    `${ADMIN}add-user`,
    'hermod/registered_users',
    'urn:xmpp:invite#create-account',
  ]) {
    const payload = `<command xmlns='http://jabber.org/protocol/commands' node='${node}'/>`
    other.send(`<iq type='set' id='c' to='capulet.example'>${payload}</iq>`)
    const answer = await other.receive(el => el.attrs['id'] === 'c')
    assert.match(errorCondition(answer), /^(forbidden|item-not-found)$/, node)
  }
  for (const where of ['online', 'all', 'motd', 'motd/update', 'motd/delete', 'all-hosts/online']) {
    other.send(`<message to='capulet.example/announce/${where}' id='a'><body>Banished</body></message>`)
    const error = await other.receive(el => el.attrs['type'] === 'error' && el.attrs['id'] === 'a')
    assert.equal(errorCondition(error), 'forbidden', where)
  }
  await two.nothing(juliet, says('Banished'), other)
  assert.equal((await run(own, `${ADMIN}get-online-users-num`)).values['onlineusersnum']?.[0], '2')
})

test('what is for users of a server is not for people of another one', async t => {
  const { romeo } = await lovers(t, { http: {} })
  const PUBSUB = 'http://jabber.org/protocol/pubsub'
  await refused(
    'forbidden',
    romeo.request('set', `<pubsub xmlns='${PUBSUB}'><create node='n'/></pubsub>`, 'pubsub.capulet.example'),
  )
  const slot = "<request xmlns='urn:xmpp:http:upload:0' filename='a.txt' size='1'/>"
  await refused('forbidden', romeo.request('get', slot, 'upload.capulet.example'))
  for (const payload of [
    "<query xmlns='jabber:iq:register'><remove/></query>",
    "<query xmlns='jabber:iq:register'><username>romeo</username><password>x</password></query>",
  ]) {
    for (const to of ['capulet.example', JULIET]) await assert.rejects(romeo.request('set', payload, to), /iq error/)
  }
})
