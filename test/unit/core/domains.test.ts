import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Domain, type DomainHandler } from '../../../src/core/domains.ts'
import { STOP } from '../../../src/core/hooks.ts'
import type { Host } from '../../../src/core/host.ts'
import { NS, xml } from '../../../src/xml/index.ts'
import { StanzaError } from '../../../src/xmpp/errors.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import type { Stanza } from '../../../src/xmpp/stanza.ts'
import { FakeSession, host, stanza } from './support.ts'

async function setup(handler: DomainHandler = {}): Promise<{ it: Host; domain: Domain; romeo: FakeSession }> {
  const it = host()
  const domain = new Domain('mod_test', 'rooms.example.org', it, handler)
  it.router.add(domain)
  const romeo = new FakeSession((await it.account('romeo'))!, 'orchard', 0)
  return { it, domain, romeo }
}

const FROM = "from='romeo@example.org/orchard'"
const iq = (to: string, payload: string, type = 'get') =>
  stanza(`<iq type='${type}' id='1' ${FROM} to='${to}'>${payload}</iq>`)
const PING = "<ping xmlns='urn:xmpp:ping'/>"
const conditionOf = (answer: Stanza) => answer.el.getChild('error')?.children[0]

test('an iq that nobody handles is service-unavailable; messages and presence as for nobody', async () => {
  const { it, romeo } = await setup()
  const source = { session: romeo }
  await it.router.route(iq('rooms.example.org', PING), source)
  await it.router.route(iq('a@rooms.example.org', PING), source)
  await it.router.route(iq('a@rooms.example.org/b', PING), source)
  await it.router.route(iq('a@rooms.example.org/b', '', 'result'), source)
  await it.router.route(stanza(`<message ${FROM} to='a@rooms.example.org'><body>x</body></message>`), source)
  await it.router.route(stanza(`<message type='headline' ${FROM} to='rooms.example.org'/>`), source)
  await it.router.route(stanza(`<message type='error' ${FROM} to='rooms.example.org'/>`), source)
  await it.router.route(stanza(`<presence ${FROM} to='rooms.example.org'/>`), source)
  assert.deepEqual(
    romeo.stanzas.map(s => `${s.kind} ${String(conditionOf(s)).slice(1, 20)}`),
    ['iq', 'iq', 'iq', 'message'].map(kind => `${kind} service-unavailable`),
  )
})

test('iqs go to their handlers: of the domain, and of addresses in it', async () => {
  const { it, domain, romeo } = await setup()
  domain.iq('server', 'get', NS.PING, 'ping', () => xml('domain', { xmlns: 'x' }))
  domain.iq('account', 'get', NS.PING, 'ping', ({ stanza }) => {
    return xml(stanza.to!.local, { xmlns: 'x' })
  })
  await it.router.route(iq('rooms.example.org', PING), { session: romeo })
  await it.router.route(iq('room@rooms.example.org', PING), { session: romeo })
  assert.deepEqual(
    romeo.stanzas.map(s => [s.type, s.from.toString(), s.payload?.name]),
    [
      ['result', 'rooms.example.org', 'domain'],
      ['result', 'room@rooms.example.org', 'room'],
    ],
  )
})

test('the rest goes to the packet handler, and what it throws to the sender', async () => {
  const seen: string[] = []
  const { it, romeo } = await setup({
    async packet({ kind, type, to }) {
      seen.push(`${kind} ${type} ${to}`)
      if (kind === 'message') throw new StanzaError('not-acceptable')
    },
  })
  const source = { session: romeo }
  await it.router.route(stanza(`<message ${FROM} to='a@rooms.example.org' type='groupchat'/>`), source)
  await it.router.route(stanza(`<presence ${FROM} to='a@rooms.example.org/nick'/>`), source)
  await it.router.route(iq('a@rooms.example.org/nick', PING), source)
  await it.router.route(iq('a@rooms.example.org/nick', '', 'result'), source)
  assert.deepEqual(seen, [
    'message groupchat a@rooms.example.org',
    'presence available a@rooms.example.org/nick',
    'iq get a@rooms.example.org/nick',
    'iq result a@rooms.example.org/nick',
  ])
  assert.deepEqual(
    romeo.stanzas.map(s => [s.kind, s.type]),
    [['message', 'error']],
  )
})

test('what is asked in the name of the domain is answered there', async () => {
  const { it, domain } = await setup({ packet: () => assert.fail('an answer is nobody else’s') })
  const romeo = new FakeSession((await it.account('romeo'))!, 'garden', 0)
  const answer = it.requests.ask(domain.jid, romeo.jid, 'get', xml('ping', { xmlns: NS.PING }), 1000)
  const asked = romeo.stanzas[0]!
  assert.equal(asked.from.toString(), 'rooms.example.org')
  await it.router.route(asked.result())
  assert.equal((await answer)?.type, 'result')
})

test('the host’s filter sees what comes, and may stop it', async () => {
  const { it, romeo } = await setup({ packet: () => assert.fail('it was stopped') })
  it.hooks.add('test', 'filter_packet', ({ stanza }) => {
    if (stanza.to!.domain !== 'rooms.example.org') return
    if (stanza.kind === 'presence') return STOP
    if (stanza.kind === 'message') return Promise.resolve(STOP)
    throw new StanzaError('forbidden')
  })
  await it.router.route(stanza(`<presence ${FROM} to='a@rooms.example.org/x'/>`))
  await it.router.route(stanza(`<message ${FROM} to='a@rooms.example.org/x'/>`))
  await it.router.route(iq('a@rooms.example.org/x', PING), { session: romeo })
  assert.equal(romeo.stanzas.length, 1)
  assert.match(String(conditionOf(romeo.stanzas[0]!)), /^<forbidden /)
})

test('service discovery is answered from features, identities and the handler', async () => {
  const { it, domain, romeo } = await setup({
    info: (_, node) => (node === 'n' ? [xml('feature', { var: 'urn:n' })] : undefined),
    items: async ({ stanza }) => [xml('item', { jid: stanza.to!.toString() })],
  })
  domain.disco.addIdentity('server', { category: 'conference', type: 'text', name: 'Rooms' })
  domain.disco.addFeature('server', 'urn:rooms')
  const ask = async (to: string, what: string, node = ''): Promise<string> => {
    const attr = node === '' ? '' : ` node='${node}'`
    const query = `<query xmlns='http://jabber.org/protocol/disco#${what}'${attr}/>`
    await it.router.route(iq(to, query), { session: romeo })
    const answer = romeo.stanzas.pop()!
    if (answer.type === 'error') return String(conditionOf(answer)).replace(/ .*/, '')
    const children = answer.payload!.getChildElements()
    return children.map(el => el.attrs['var'] ?? el.attrs['jid'] ?? el.attrs['name']).join(' ')
  }
  const own = 'Rooms http://jabber.org/protocol/disco#info http://jabber.org/protocol/disco#items urn:rooms'
  assert.equal(await ask('rooms.example.org', 'info'), own)
  assert.equal(await ask('rooms.example.org', 'info', 'n'), 'urn:n')
  assert.equal(await ask('rooms.example.org', 'info', 'x'), '<item-not-found')
  assert.equal(await ask('a@rooms.example.org', 'info'), '<item-not-found')
  await new Promise(setImmediate)
  assert.equal(await ask('a@rooms.example.org', 'items'), 'a@rooms.example.org')
})

test('one domain, one server of it', async () => {
  const { it, domain } = await setup()
  const other = new Domain('mod_other', 'rooms.example.org', it, {})
  assert.throws(() => it.router.add(other), /another module/)
  assert.throws(() => new Domain('mod_other', 'example.org', it, {}), /virtual host/)
  assert.throws(
    () => it.router.add(new Domain('mod_other', 'example.org', host({ name: 'a.example' }), {})),
    /virtual host/,
  )
  assert.throws(() => new Domain('mod_other', 'a@b', it, {}), /no domain/)
  it.router.remove(other) // which is not there
  await it.router.route(iq('rooms.example.org', PING))
  it.router.remove(domain)
  it.router.add(other)
  assert.ok(Jid.parse(other.name))
})
