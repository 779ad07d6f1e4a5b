/** Every iq handler of a server with everything on, asked by those who are not the account's user. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Domain } from '../../src/core/domains.ts'
import type { IqTable } from '../../src/core/iq.ts'
import { parseRowKey } from '../../src/storage/codec.ts'
import { readDump } from '../../src/storage/dump.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { parseElement } from '../../src/xml/index.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { OWNER, PUBSUB, publish } from '../support/publishing.ts'
import type { RawClient } from '../support/rawclient.ts'
import { errorCondition, StreamReader, type XmlElement } from '../support/rawxml.ts'
import { available, says, serve } from '../support/talk.ts'
import { builtins, TestServer, testModule } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const MARK = 'confidential'
const store = openMemoryStore()
let server: TestServer
let victim: RawClient

/**
 * What the requests say that would change or show something, by type, namespace and name. A handler for `set` without a
 * line here fails the test: add what it takes to do harm with it.
 */
const PAYLOADS: Record<string, readonly string[]> = {
  'set jabber:iq:register query': [
    "<query xmlns='jabber:iq:register'><username>alice</username><password>taken over</password></query>",
    "<query xmlns='jabber:iq:register'><remove/></query>",
  ],
  'set jabber:iq:roster query': [
    "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='x'/></query>",
    "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' subscription='remove'/></query>",
  ],
  ...Object.fromEntries(
    ['get', 'set'].map(type => [
      `${type} urn:xmpp:privilege:2 privileged_iq`,
      [
        `<privileged_iq xmlns='urn:xmpp:privilege:2'><iq xmlns='jabber:client' type='${type}' id='x'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='secret'/></pubsub></iq></privileged_iq>`,
      ],
    ]),
  ),
  'set jabber:iq:private query': ["<query xmlns='jabber:iq:private'><note xmlns='urn:note'>x</note></query>"],
  'get jabber:iq:private query': ["<query xmlns='jabber:iq:private'><note xmlns='urn:note'/></query>"],
  'set urn:xmpp:blocking block': ["<block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></block>"],
  'set urn:xmpp:blocking unblock': ["<unblock xmlns='urn:xmpp:blocking'/>"],
  'set urn:xmpp:mam:2 query': ["<query xmlns='urn:xmpp:mam:2'/>"],
  'set urn:xmpp:mam:2 prefs': [
    "<prefs xmlns='urn:xmpp:mam:2' default='never'><always><jid>bob@localhost</jid></always><never/></prefs>",
  ],
  'set urn:xmpp:push:0 enable': ["<enable xmlns='urn:xmpp:push:0' jid='push.evil.test' node='n'/>"],
  'set urn:xmpp:push:0 disable': ["<disable xmlns='urn:xmpp:push:0' jid='push.localhost'/>"],
  'set urn:xmpp:carbons:2 enable': ["<enable xmlns='urn:xmpp:carbons:2'/>"],
  'set urn:xmpp:carbons:2 disable': ["<disable xmlns='urn:xmpp:carbons:2'/>"],
  'set vcard-temp vCard': ["<vCard xmlns='vcard-temp'><NICKNAME>x</NICKNAME></vCard>"],
  'set urn:ietf:params:xml:ns:vcard-4.0 vcard': [
    "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><nickname><text>x</text></nickname></vcard>",
  ],
  'set urn:ietf:params:xml:ns:xmpp-session session': ["<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>"],
  'set jabber:iq:search query': ["<query xmlns='jabber:iq:search'><nick>*</nick></query>"],
  'get urn:hermod:message-states:0 states': [
    "<states xmlns='urn:hermod:message-states:0' with='bob@localhost'><message id='m1'/></states>",
  ],
  [`get ${PUBSUB} pubsub`]: ['secret', 'urn:xmpp:mds:displayed:0', 'storage:bookmarks'].map(
    node => `<pubsub xmlns='${PUBSUB}'><items node='${node}'/></pubsub>`,
  ),
  [`set ${PUBSUB} pubsub`]: [
    `<pubsub xmlns='${PUBSUB}'><create node='x'/></pubsub>`,
    `<pubsub xmlns='${PUBSUB}'><publish node='secret'><item id='i'><a xmlns='urn:a'/></item></publish></pubsub>`,
    `<pubsub xmlns='${PUBSUB}'><retract node='secret'><item id='i'/></retract></pubsub>`,
    `<pubsub xmlns='${PUBSUB}'><subscribe node='secret' jid='alice@localhost'/></pubsub>`,
    `<pubsub xmlns='${PUBSUB}'><unsubscribe node='secret' jid='alice@localhost'/></pubsub>`,
  ],
  [`get ${OWNER} pubsub`]: ['configure', 'affiliations', 'subscriptions'].map(
    name => `<pubsub xmlns='${OWNER}'><${name} node='secret'/></pubsub>`,
  ),
  [`set ${OWNER} pubsub`]: ['delete', 'purge'].map(
    name => `<pubsub xmlns='${OWNER}'><${name} node='secret'/></pubsub>`,
  ),
  'get urn:xmpp:http:upload:0 request': [
    "<request xmlns='urn:xmpp:http:upload:0' filename='a.txt' size='1' content-type='text/plain'/>",
  ],
}
const COMMANDS = 'http://jabber.org/protocol/commands'

before(async () => {
  const modules = Object.fromEntries([...(await builtins()).keys()].map(name => [name, {}]))
  server = await TestServer.start({
    hosts: ['localhost', 'other.test'],
    store,
    http: {},
    modules: { ...modules, mod_register: { require_tls: false }, mod_stun_disco: { services: [] } },
  })
  await server.register('bob')
  victim = await server.client('alice', { resource: 'desk' })
  await available(victim)
  await victim.request('set', "<enable xmlns='urn:xmpp:carbons:2'/>")
  await victim.request('set', "<query xmlns='jabber:iq:private'><note xmlns='urn:note'>confidential</note></query>")
  await victim.request(
    'set',
    "<query xmlns='jabber:iq:roster'><item jid='carol@confidential.test' name='confidential'/></query>",
  )
  await victim.request('set', "<block xmlns='urn:xmpp:blocking'><item jid='confidential@localhost'/></block>")
  await victim.request('set', "<vCard xmlns='vcard-temp'><NICKNAME>alice</NICKNAME></vCard>")
  await victim.request('set', "<enable xmlns='urn:xmpp:push:0' jid='push.localhost' node='confidential'/>")
  await publish(victim, 'secret', "<note xmlns='urn:note'>confidential</note>", 'i')
  victim.send("<message to='alice@localhost' id='m1' type='chat'><body>confidential</body></message>")
  await victim.receive(says('confidential'))
  // What is written in the background, too.
  for (const table of ['inbox', 'message_delivered']) {
    await eventually(async () => Object.keys(await state()).some(row => row.startsWith(table)), `a row in ${table}`)
  }
})
after(() => server.stop())

/** Those of the sender and of whom they ask: `alice` here, whose everything it is. */
async function state(): Promise<Record<string, string>> {
  const host = server.server.host('localhost')!
  const rows: Record<string, string> = {}
  for await (const page of readDump(store.dump())) {
    for (const [key, value] of page) {
      const { host: of, table, pk, ck } = parseRowKey(key)
      const about = [...pk, ...ck].some(part => /^alice(@localhost.*)?$/.test(String(part)))
      if (of === 'localhost' && about) rows[`${table} ${pk.join(' ')}/${ck.join(' ')}`] = Buffer.from(value).toString()
    }
  }
  for (const session of host.accounts.get('alice')!.sessions.values()) {
    const kept = host.surviving.write(session.slots)
    const { presence, priority, interested, connected } = session
    rows[`session ${session.jid}`] = JSON.stringify({ presence: `${presence}`, priority, interested, connected, kept })
  }
  return rows
}

/** Whoever is asked what, with every payload that is known for it. */
function* requests(): Generator<{ to: string; type: 'get' | 'set'; scope: string; target: string; payload: string }> {
  const { router, iq, adhoc } = server.server.host('localhost')!
  const tables: [to: string, iqs: IqTable][] = [['localhost', iq]]
  for (const served of router.destinations.values()) {
    if (served instanceof Domain && served.host.name === 'localhost') tables.push([served.name, served.iqs])
  }
  for (const [to, iqs] of tables) {
    for (const { scope, target, type, ns, name } of iqs) {
      let payloads = PAYLOADS[`${type} ${ns} ${name}`]
      if (ns === COMMANDS) {
        const nodes = adhoc.list(server.server.host('localhost')!.accounts.get('alice')!.jid).map(({ node }) => node)
        assert.ok(nodes.length > 0)
        payloads = nodes.map(node => `<command xmlns='${ns}' node='${node}'/>`)
      }
      assert.ok(
        type === 'get' || payloads !== undefined,
        `no row '${type} ${ns} ${name}' in PAYLOADS; and what it keeps needs a row with "${MARK}" in it, in before()`,
      )
      for (const payload of payloads ?? [`<${name} xmlns='${ns}'/>`]) {
        yield { to: target === 'server' ? to : `alice@${to}`, type: type as 'get' | 'set', scope, target, payload }
      }
    }
  }
}

type Ask = (type: string, to: string, payload: string) => Promise<XmlElement>

async function walk(ask: Ask, isStranger: boolean): Promise<void> {
  const untouched = await state()
  assert.ok(Object.keys(untouched).length >= 8, Object.keys(untouched).join(', '))
  const heard: string[] = []
  victim.on('stanza', el => heard.push(el.name === 'iq' && el.attrs['type'] === 'result' ? '' : JSON.stringify(el)))
  let count = 0
  for (const { to, type, scope, target, payload } of requests()) {
    const answer = await ask(type, to, payload)
    const what = `${type} to ${to}: ${payload}`
    // Of their own account users may ask their own host.
    if (scope === 'own' && (isStranger || target === 'account')) assert.equal(errorCondition(answer), 'forbidden', what)
    const shown = JSON.stringify(answer)
    assert.ok(!shown.includes(MARK), `${what}\n${shown}`)
    await victim.ping()
    assert.deepEqual(await state(), untouched, what)
    count++
  }
  assert.ok(count > 50, `only ${count} handlers`)
  assert.deepEqual(heard.filter(Boolean), [])
  victim.removeAllListeners('stanza')
}

/** As a client reads it. */
function elementOf(text: string): XmlElement {
  let found: XmlElement | undefined
  const reader = new StreamReader(
    el => (found = el),
    () => {},
  )
  reader.write(Buffer.from(`<stream xmlns='jabber:client'>${text}`))
  return found!
}

/** A client that comes back where it was thrown out. */
function as(user: string, host: string): Ask {
  let client: RawClient | undefined
  return async (type, to, payload) => {
    if (client === undefined || client.closed) client = await server.client(user, { host })
    client.send(`<iq type='${type}' id='ask' to='${to}'>${payload}</iq>`)
    const answer = await client.receive(el => el.name === 'iq' && el.attrs['id'] === 'ask')
    if (payload.includes('<remove/></query>') && answer.attrs['type'] === 'result') client.cut()
    return answer
  }
}

test('a user of that name at another host of the server', () => walk(as('alice', 'other.test'), true))

test('a user of that name at another server', async t => {
  const { router } = server.server
  const { fallback } = router
  t.after(() => {
    router.fallback = fallback
  })
  const answers = new Map<string, (answer: XmlElement) => void>()
  router.fallback = {
    name: '',
    filter: undefined,
    deliver: stanza => answers.get(stanza.id ?? '')?.(elementOf(stanza.toString())),
  }
  let count = 0
  const ask: Ask = (type, to, payload) => {
    const id = `q${count++}`
    const { promise, resolve } = Promise.withResolvers<XmlElement>()
    answers.set(id, resolve)
    const iq = `<iq type='${type}' id='${id}' from='alice@far.example/x' to='${to}'>${payload}</iq>`
    void router.route(Stanza.of(parseElement(iq)))
    return promise
  }
  await walk(ask, true)
})

test('another user of the same host', () => walk(as('mallory', 'localhost'), false))

test('nobody who is logged in, with the victim’s address', async () => {
  const { router } = server.server.host('localhost')!
  const answers: string[] = []
  server.server.host('localhost')!.hooks.add('test', 'filter_packet', ({ stanza }) => {
    if (stanza.to?.resource === 'phantom') answers.push(stanza.toString())
  })
  for (const { to, type, scope, payload } of requests()) {
    if (scope !== 'own') continue
    const untouched = await state()
    const iq = `<iq type='${type}' id='ask' from='alice@localhost/phantom' to='${to}'>${payload}</iq>`
    await router.route(Stanza.of(parseElement(iq)))
    assert.equal(answers.length, 1, payload)
    assert.match(answers.pop()!, /<forbidden /, payload)
    assert.deepEqual(await state(), untouched, payload)
  }
})

test('to another host of the server a client is an address: its session is known at its own', async t => {
  const seen: [from: string, session: string | undefined][] = []
  const mod_spy = testModule('mod_spy', ctx => {
    ctx.domain('spy.@HOST@', {
      packet: (stanza, source) => void seen.push([`${stanza.from.bare}`, source.session?.jid.bare.toString()]),
    })
  })
  const two = await serve(t, { hosts: ['localhost', 'other.test'], extra: [mod_spy] })
  const near = await two.client('alice')
  const far = await two.client('alice', { host: 'other.test' })
  for (const client of [near, far]) {
    client.send("<message to='spy.localhost'><body>hello</body></message>")
    await client.ping()
    const info = await client.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", 'localhost')
    assert.equal(info.attrs['from'], 'localhost', 'and is answered all the same')
  }
  assert.deepEqual(seen, [
    ['alice@localhost', 'alice@localhost'],
    ['alice@other.test', undefined],
  ])
})
