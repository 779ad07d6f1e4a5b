/** What another server may say to us, and what it is answered; it is a raw socket. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { freeAddress } from '../../support/loopback.ts'
import { NS_BIDI, NS_DIALBACK, NS_SASL, NS_SM, RawPeer, RawPeerServer } from '../../support/rawpeer.ts'
import { child, errorCondition, type XmlElement } from '../../support/rawxml.ts'
import { eventually } from '../../support/waiting.ts'
import { type Engine, type EngineOptions, engine, type World, world } from './support.ts'

const US = 'capulet.example'
const THEM = 'montague.example'
const CHAT = `<message from='romeo@${THEM}/orchard' to='juliet@${US}' type='chat'><body>hi</body></message>`

interface Here {
  at: World
  us: Engine
  ip: string
  connect(port?: number): Promise<RawPeer>
}

async function here(t: TestContext, options: Partial<EngineOptions> = {}): Promise<Here> {
  const at = await world(t)
  const ip = freeAddress()
  const us = await engine(t, at, { domains: [US, `rooms.${US}`], ip, ...options })
  const peers: RawPeer[] = []
  t.after(() => {
    for (const peer of peers) peer.cut()
  })
  const connect = async (port?: number): Promise<RawPeer> => {
    const peer = await RawPeer.connect({ ip, ...(port === undefined ? {} : { port }) })
    peers.push(peer)
    return peer
  }
  return { at, us, ip, connect }
}

const names = (features: XmlElement): string[] => features.children.map(({ name }) => name)
const result = (from: string, to: string, key: string): string =>
  `<db:result from='${from}' to='${to}'>${key}</db:result>`

describe('the header of a stream', () => {
  const cases: [string, { from?: string; to?: string; version?: string }, string][] = [
    ['has to name who it is from', { to: US }, 'improper-addressing'],
    ['has to name who it is for', { from: THEM }, 'improper-addressing'],
    ['is from a domain, not a user', { from: `romeo@${THEM}`, to: US }, 'improper-addressing'],
    ['is to a domain, not a client', { from: THEM, to: `${US}/x` }, 'improper-addressing'],
    ['is from what is an address', { from: '@', to: US }, 'improper-addressing'],
    ['is for a domain that is served here', { from: THEM, to: 'verona.example' }, 'host-unknown'],
    ['is not from one that is served here', { from: `rooms.${US}`, to: US }, 'invalid-from'],
    ['is of XMPP 1.0', { from: THEM, to: US, version: '' }, 'unsupported-version'],
  ]
  for (const [name, header, condition] of cases) {
    test(name, async t => {
      const { connect } = await here(t)
      const peer = await connect()
      peer.open(header)
      assert.equal(await peer.streamError(), condition)
    })
  }

  test('is of the namespace of servers', async t => {
    const { connect } = await here(t)
    const peer = await connect()
    peer.write(
      `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='${THEM}' to='${US}' version='1.0'>`,
    )
    assert.equal(await peer.streamError(), 'invalid-namespace')
  })

  test('is answered with ours, from whom it is for, to whom it is from', async t => {
    const { connect } = await here(t)
    const peer = await connect()
    peer.open({ from: THEM.toUpperCase(), to: `Rooms.${US}` })
    const { from, to, id, version } = await peer.header()
    assert.deepEqual([from, to, version], [`rooms.${US}`, THEM, '1.0'])
    assert.match(id!, /^[0-9a-f]{32}$/)
  })

  test('is refused where the configuration says so', async t => {
    const { connect } = await here(t, { s2s: { access: 'none' } })
    const peer = await connect()
    peer.open({ from: THEM, to: US })
    assert.equal(await peer.streamError(), 'policy-violation')
  })
})

describe('before TLS', () => {
  test('nothing but STARTTLS is offered, and nothing else is taken', async t => {
    const { connect } = await here(t)
    const peer = await connect()
    const { features } = await peer.begin(THEM, US)
    assert.deepEqual(names(features), ['starttls'])
    assert.deepEqual(names(features.children[0]!), ['required'])
    peer.write(result(THEM, US, 'key'))
    const refused = await peer.element()
    assert.deepEqual(
      [refused.name, refused.attrs['type'], errorCondition(refused)],
      ['result', 'error', 'policy-violation'],
    )
    peer.write(`<db:verify from='${THEM}' to='${US}' id='1'>key</db:verify>`)
    const verify = await peer.element()
    assert.deepEqual(
      [verify.attrs['type'], errorCondition(verify), verify.attrs['id']],
      ['error', 'policy-violation', '1'],
    )
    peer.write(CHAT)
    assert.equal(await peer.streamError(), 'not-authorized')
  })

  test('nobody logs in', async t => {
    const { connect } = await here(t)
    const peer = await connect()
    await peer.begin(THEM, US)
    peer.write(`<auth xmlns='${NS_SASL}' mechanism='EXTERNAL'>=</auth>`)
    assert.equal(await peer.streamError(), 'not-authorized')
  })

  test('what comes with STARTTLS in one piece is thrown away', async t => {
    const { at, connect, us } = await here(t)
    const peer = await connect()
    await peer.begin(THEM, US)
    peer.write(`<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>${CHAT}`)
    assert.equal((await peer.element()).name, 'proceed')
    await peer.secure(US, at.ca.issue([THEM]))
    await peer.begin(THEM, US)
    assert.equal(us.talks.begun.length, 0)
  })
})

describe('by certificate', () => {
  test('a peer whose certificate is valid is offered EXTERNAL, and sends', async t => {
    const { at, connect, us } = await here(t)
    const peer = await connect()
    const { features } = await peer.encrypt(THEM, US, at.ca.issue([THEM]))
    assert.deepEqual(names(features), ['mechanisms', 'dialback', 'bidi', 'sm', 'limits'])
    const after = await peer.external(THEM, US)
    assert.deepEqual(names(after.features), ['dialback', 'bidi', 'sm', 'limits'])
    peer.write(CHAT)
    await us.talks.hears('<message')
  })

  test('direct TLS is the same without STARTTLS', async t => {
    const { at, connect, us } = await here(t)
    const peer = await connect(5270)
    await peer.secure(US, at.ca.issue([THEM]), 'xmpp-server')
    const { features } = await peer.begin(THEM, US)
    assert.equal(names(features)[0], 'mechanisms')
    await peer.external(THEM, US)
    peer.write(CHAT)
    await us.talks.hears('<message')
  })

  for (const [what, text] of [
    ['nothing', '='],
    ['the domain', Buffer.from(THEM).toString('base64')],
    ['the domain in other letters', Buffer.from('Montague.Example').toString('base64')],
  ]) {
    test(`the identity that it asks for may be ${what}`, async t => {
      const { at, connect } = await here(t)
      const peer = await connect()
      await peer.encrypt(THEM, US, at.ca.issue([THEM]))
      peer.write(`<auth xmlns='${NS_SASL}' mechanism='EXTERNAL'>${text}</auth>`)
      assert.equal((await peer.element()).name, 'success')
    })
  }

  test('what is left out is asked for', async t => {
    const { at, connect } = await here(t)
    const peer = await connect()
    await peer.encrypt(THEM, US, at.ca.issue([THEM]))
    peer.write(`<auth xmlns='${NS_SASL}' mechanism='EXTERNAL'/>`)
    assert.equal((await peer.element()).name, 'challenge')
    peer.write(`<response xmlns='${NS_SASL}'>=</response>`)
    assert.equal((await peer.element()).name, 'success')
  })

  for (const [what, text, condition] of [
    ['somebody else', Buffer.from('verona.example').toString('base64'), 'invalid-authzid'],
    ['what is no base64', '*', 'incorrect-encoding'],
  ]) {
    test(`it may not ask to be ${what}`, async t => {
      const { at, connect } = await here(t)
      const peer = await connect()
      await peer.encrypt(THEM, US, at.ca.issue([THEM]))
      peer.write(`<auth xmlns='${NS_SASL}' mechanism='EXTERNAL'>${text}</auth>`)
      const { name, children } = await peer.element()
      assert.deepEqual([name, children[0]?.name], ['failure', condition])
      peer.write(`<auth xmlns='${NS_SASL}' mechanism='PLAIN'>AGEAYg==</auth>`)
      assert.equal((await peer.element()).children[0]?.name, 'invalid-mechanism')
      peer.write(`<abort xmlns='${NS_SASL}'/>`)
      assert.equal((await peer.element()).children[0]?.name, 'aborted')
      assert.equal(await peer.streamError(), 'policy-violation')
    })
  }

  const bad: [string, (at: World) => { cert: string; key: string } | undefined][] = [
    ['none', () => undefined],
    ['one for another domain', at => at.ca.issue(['verona.example'])],
    ['one that has expired', at => at.ca.expired(THEM)],
  ]
  for (const [what, issue] of bad) {
    test(`with ${what} EXTERNAL is neither offered nor taken`, async t => {
      const { at, connect } = await here(t)
      const peer = await connect()
      const { features } = await peer.encrypt(THEM, US, issue(at))
      assert.deepEqual(names(features), ['dialback', 'bidi', 'sm', 'limits'])
      peer.write(`<auth xmlns='${NS_SASL}' mechanism='EXTERNAL'>=</auth>`)
      assert.equal((await peer.element()).children[0]?.name, 'not-authorized')
    })

    test(`with ${what} it is told why, where one is required`, async t => {
      const { at, connect, us } = await here(t, {
        s2s: { domains: { [THEM]: { policy: 'require_valid_certificate' } } },
      })
      for (let i = 0; i < 2; i++) {
        const peer = await connect()
        const { features: error } = await peer.encrypt(THEM, US, issue(at))
        assert.deepEqual([error.name, error.children[0]?.name], ['error', 'policy-violation'])
        await peer.ended()
      }
      const lines = us.log.filter(({ level, msg }) => level === 'warn' && msg.includes('certificate is not valid'))
      assert.equal(lines.length, 1, 'it is said once')
      assert.equal(lines[0]!.domain, THEM)
    })
  }

  test('the domains of the stream stay those that were authenticated', async t => {
    const { at, connect } = await here(t)
    const peer = await connect()
    await peer.encrypt(THEM, US, at.ca.issue([THEM, 'verona.example']))
    peer.write(`<auth xmlns='${NS_SASL}' mechanism='EXTERNAL'>=</auth>`)
    assert.equal((await peer.element()).name, 'success')
    peer.restart()
    peer.open({ from: 'verona.example', to: US })
    assert.equal(await peer.streamError(), 'invalid-from')
  })
})

/** A peer that is let in by its certificate. */
async function inside(t: TestContext, options: Partial<EngineOptions> = {}, bidi = false) {
  const all = await here(t, options)
  const peer = await all.connect()
  await peer.encrypt(THEM, US, all.at.ca.issue([THEM]))
  if (bidi) peer.write(`<bidi xmlns='${NS_BIDI}'/>`)
  const { id } = await peer.external(THEM, US)
  return { ...all, peer, id }
}

describe('stanzas', () => {
  const wrong: [string, string, string][] = [
    ['without a sender', `<message to='juliet@${US}'/>`, 'improper-addressing'],
    ['without a recipient', `<message from='romeo@${THEM}'/>`, 'improper-addressing'],
    ['from nobody', `<message from='' to='juliet@${US}'/>`, 'improper-addressing'],
    ['from what is no address', `<message from='a@b@c.' to='juliet@${US}'/>`, 'improper-addressing'],
    ['of another domain', `<message from='romeo@verona.example' to='juliet@${US}'/>`, 'invalid-from'],
    ['of a domain below', `<message from='romeo@rooms.${THEM}' to='juliet@${US}'/>`, 'invalid-from'],
    ['of ours', `<message from='nurse@${US}' to='juliet@${US}'/>`, 'invalid-from'],
    ['for a domain that is not here', `<message from='romeo@${THEM}' to='juliet@verona.example'/>`, 'host-unknown'],
    ['for a domain that was not asked for', `<message from='romeo@${THEM}' to='room@rooms.${US}'/>`, 'not-authorized'],
  ]
  for (const [what, stanza, condition] of wrong) {
    test(`${what} end the stream`, async t => {
      const { peer, us } = await inside(t)
      peer.write(stanza)
      assert.equal(await peer.streamError(), condition)
      assert.ok(us.talks.begun[0]!.heard.every(line => !line.startsWith('<')))
    })
  }

  test('that a user has made wrong cost only themselves', async t => {
    const { peer, us } = await inside(t)
    const bad = [
      `<message from='romeo@${THEM}' to='ju liet@${US}' id='1'/>`,
      `<message from='ro meo@${THEM}' to='juliet@${US}'/>`,
      `<iq from='romeo@${THEM}' to='juliet@${US}' type='get' id='2'/>`,
      `<iq from='romeo@${THEM}' to='juliet@${US}' type='result'/>`,
      `<presence from='romeo@${THEM}' to='juliet@${US}' type='nonsense'/>`,
    ]
    peer.write(bad.join('') + CHAT)
    const { heard } = await us.talks.hears('<message')
    assert.deepEqual(heard.slice(-6), [...bad.map(() => 'refused'), CHAT])
    assert.deepEqual(
      us.answers.map(stanza => [stanza.from.toString(), stanza.to!.toString(), errorOf(stanza.toString())]),
      [
        [US, `romeo@${THEM}`, 'jid-malformed'],
        [`juliet@${US}`, `romeo@${THEM}`, 'bad-request'],
        [`juliet@${US}`, `romeo@${THEM}`, 'bad-request'],
      ],
    )
  })

  test('lose what claims that we said it', async t => {
    const { peer, us } = await inside(t)
    const claims = [
      `<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@${US}' id='1'/>`,
      `<stanza-id xmlns='urn:xmpp:sid:0' by=' Capulet.Example' id='1'/>`,
      `<delay xmlns='urn:xmpp:delay' from='rooms.${US}' stamp='2020-01-01T00:00:00Z'/>`,
      `<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'/></sent>`,
    ]
    const theirs = `<stanza-id xmlns='urn:xmpp:sid:0' by='room@${THEM}' id='2'/><delay xmlns='urn:xmpp:delay' from='${THEM}' stamp='2020-01-01T00:00:00Z'/>`
    peer.write(CHAT.replace('<body>', `${claims.join('')}${theirs}<body>`))
    const { heard } = await us.talks.hears('<message')
    assert.equal(heard.at(-1), CHAT.replace('<body>', `${theirs}<body>`))
  })

  test('keep what they ask: an iq has its payload, whatever that is', async t => {
    const { peer, us } = await inside(t)
    const iq = `<iq from='romeo@${THEM}' to='juliet@${US}' type='get' id='1'><sent xmlns='urn:xmpp:carbons:2'/></iq>`
    peer.write(iq)
    const { heard } = await us.talks.hears('<iq')
    assert.equal(heard.at(-1), iq)
  })

  test('before a login end the stream', async t => {
    const { at, connect } = await here(t)
    const peer = await connect()
    await peer.encrypt(THEM, US, at.ca.issue([THEM]))
    peer.write(CHAT)
    assert.equal(await peer.streamError(), 'not-authorized')
  })
})

const errorOf = (text: string): string | undefined => /<error[^>]*><([a-z-]+)/.exec(text)?.[1]

describe('dialback', () => {
  /** Us, and a server of montague.example that vouches, or not. */
  async function vouching(t: TestContext, options: Partial<EngineOptions> = {}) {
    const all = await here(t, options)
    const ip = freeAddress()
    const server = await RawPeerServer.listen(t, { ip })
    for (const domain of [THEM, `rooms.${THEM}`]) {
      all.at.dns.zone[domain] = { A: [ip] }
      all.at.dns.zone[`_xmpp-server._tcp.${domain}`] = { SRV: [{ port: 5269, target: domain }] }
    }
    const peer = await all.connect()
    const { id } = await peer.encrypt(THEM, US)
    const own = all.at.ca.issue([THEM])
    /** The question that we ask, on a connection of its own. */
    const asked = async () => {
      const { peer: asking, from, to } = await server.encrypted(own, '')
      return { asking, from, to, verify: await asking.element() }
    }
    return { ...all, peer, id, server, asked, own }
  }

  test('a key that its domain vouches for lets the peer in', async t => {
    const { peer, id, asked, us } = await vouching(t)
    peer.write(result(THEM, US, 'the-key'))
    const { asking, verify, from, to } = await asked()
    assert.deepEqual([from, to], [US, THEM])
    const { name, ns, attrs, text } = verify
    assert.deepEqual(
      [name, ns, attrs['from'], attrs['to'], attrs['id'], text],
      ['verify', NS_DIALBACK, US, THEM, id, 'the-key'],
    )
    asking.write(`<db:verify from='${THEM}' to='${US}' id='${id}' type='valid'/>`)
    await asking.ended()
    const answer = await peer.element()
    assert.deepEqual([answer.attrs['type'], answer.attrs['from'], answer.attrs['to']], ['valid', US, THEM])
    peer.write(CHAT)
    await us.talks.hears('<message')
  })

  test('one that it does not know ends the stream', async t => {
    const { peer, id, asked, us } = await vouching(t)
    peer.write(result(THEM, US, 'the-key'))
    const { asking } = await asked()
    asking.write(`<db:verify from='${THEM}' to='${US}' id='${id}' type='invalid'/>`)
    assert.equal((await peer.element()).attrs['type'], 'invalid')
    await peer.ended()
    assert.equal(us.talks.begun.length, 0)
    assert.match(us.log.find(({ msg }) => msg.includes('could not show'))!.reason!, /the key is not its own/)
  })

  test('answers that nobody asked for are passed over', async t => {
    const { peer, id, asked, us } = await vouching(t)
    peer.write(`<db:result from='${THEM}' to='${US}' type='valid'/>`)
    peer.write(`<db:verify from='${THEM}' to='${US}' id='${id}' type='valid'/>`)
    peer.write(result(THEM, US, 'the-key'))
    const { asking } = await asked()
    peer.write(`<db:verify from='${THEM}' to='${US}' id='${id}' type='valid'/>`)
    // On the right stream, of others.
    asking.write(`<db:verify from='${THEM}' to='${US}' id='another' type='valid'/>`)
    asking.write(`<db:verify from='rooms.${THEM}' to='${US}' id='${id}' type='valid'/>`)
    asking.write(`<db:result from='${THEM}' to='${US}' type='valid'/>`)
    asking.write(`<db:verify from='${THEM}' to='${US}' id='${id}' type='invalid'/>`)
    assert.equal((await peer.element()).attrs['type'], 'invalid')
    assert.equal(us.talks.begun.length, 0)
  })

  const troubles: [string, string, (asking: RawPeer, id: string) => void][] = [
    [
      'an error',
      'remote-server-not-found',
      (asking, id) =>
        asking.write(
          `<db:verify from='${THEM}' to='${US}' id='${id}' type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>`,
        ),
    ],
    ['a stream that ends', 'remote-server-timeout', asking => asking.write('</stream:stream>')],
    ['a connection that breaks', 'remote-server-timeout', asking => asking.cut()],
    [
      'that there is no such host',
      'remote-server-not-found',
      asking =>
        asking.write(
          "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
        ),
    ],
  ]
  for (const [what, condition, trouble] of troubles) {
    test(`${what} in place of an answer is told, and the stream goes on`, async t => {
      const { peer, id, asked } = await vouching(t)
      peer.write(result(THEM, US, 'the-key'))
      const { asking } = await asked()
      trouble(asking, id)
      const answer = await peer.element()
      assert.deepEqual([answer.attrs['type'], errorCondition(answer)], ['error', condition])
      peer.write(`<db:verify from='${THEM}' to='${US}' id='1'>key</db:verify>`)
      assert.equal((await peer.element()).attrs['type'], 'invalid')
    })
  }

  test('a domain that has no server is told', async t => {
    const { peer } = await vouching(t)
    peer.write(result('nowhere.example', US, 'the-key'))
    const answer = await peer.element()
    assert.deepEqual([answer.attrs['to'], errorCondition(answer)], ['nowhere.example', 'remote-server-not-found'])
  })

  test('pairs that cannot be are told so at once', async t => {
    const { peer, server } = await vouching(t)
    peer.write(result(THEM, 'verona.example', 'k'))
    assert.equal(errorCondition(await peer.element()), 'item-not-found')
    peer.write(result(`rooms.${US}`, US, 'k'))
    assert.equal(errorCondition(await peer.element()), 'policy-violation')
    assert.equal(server.count, 0)
    peer.write("<db:result from='romeo@montague.example' to='capulet.example'>k</db:result>")
    assert.equal(await peer.streamError(), 'improper-addressing')
  })

  test('where a certificate is required, dialback alone is not enough', async t => {
    const { connect, at, server } = await vouching(t, {
      s2s: { domains: { [`rooms.${THEM}`]: { policy: 'require_valid_certificate' } } },
    })
    const peer = await connect()
    await peer.encrypt(THEM, US, at.ca.issue([THEM]))
    peer.write(result(`rooms.${THEM}`, US, 'k'))
    assert.equal(errorCondition(await peer.element()), 'not-authorized')
    assert.equal(server.count, 0)
  })

  test('several pairs go over one stream, each when it is authenticated', async t => {
    const { peer, id, asked, us } = await vouching(t)
    const pairs = [
      [THEM, US],
      [`rooms.${THEM}`, US],
      [THEM, `rooms.${US}`],
    ] as const
    for (const [from, to] of pairs) {
      peer.write(result(from, to, `key of ${from}`))
      const { asking } = await asked()
      asking.write(`<db:verify from='${from}' to='${to}' id='${id}' type='valid'/>`)
      const answer = await peer.element()
      assert.deepEqual([answer.attrs['to'], answer.attrs['from'], answer.attrs['type']], [from, to, 'valid'])
    }
    peer.write(`<message from='room@rooms.${THEM}' to='juliet@${US}'><body>1</body></message>`)
    peer.write(`<message from='romeo@${THEM}' to='room@rooms.${US}'><body>2</body></message>`)
    await us.talks.hears(`<message from='romeo@${THEM}'`)
    // Once it is in, a key that is not vouched for costs that pair only.
    peer.write(result('verona.example', US, 'k'))
    assert.equal(errorCondition(await peer.element()), 'remote-server-not-found')
    peer.write(`<message from='room@rooms.${THEM}' to='room@rooms.${US}'/>`)
    assert.equal(await peer.streamError(), 'not-authorized')
  })

  test('keys of ours are vouched for, on any encrypted stream', async t => {
    const { peer, us } = await vouching(t)
    const key = us.federating.server.keys.keyFor({ local: US, remote: THEM }, 'their-id')
    const ask = async (from: string, to: string, id: string, text: string): Promise<string> => {
      peer.write(`<db:verify from='${from}' to='${to}' id='${id}'>${text}</db:verify>`)
      const { attrs } = await peer.element()
      assert.deepEqual([attrs['from'], attrs['to'], attrs['id']], [to, from, id])
      return attrs['type']!
    }
    assert.equal(await ask(THEM, US, 'their-id', key), 'valid')
    assert.equal(await ask(THEM, US, 'their-id', ` ${key}\n`), 'valid')
    assert.equal(await ask(THEM, US, 'another-id', key), 'invalid')
    assert.equal(await ask('verona.example', US, 'their-id', key), 'invalid')
    assert.equal(await ask(THEM, `rooms.${US}`, 'their-id', key), 'invalid')
    assert.equal(await ask(THEM, US, 'their-id', key.slice(1)), 'invalid')
    assert.equal(await ask(THEM, 'verona.example', 'their-id', key), 'error')
  })

  test('few keys of one domain are verified at a time, and one pair of a stream once', async t => {
    const { peer, server, connect } = await vouching(t)
    const peers = [peer]
    for (let i = 0; i < 5; i++) {
      const another = await connect()
      await another.encrypt(THEM, US)
      peers.push(another)
    }
    for (const one of peers) one.write(result(THEM, US, 'k') + result(THEM, US, 'k'))
    assert.equal(errorCondition(await peers.at(-1)!.element()), 'resource-constraint')
    for (let i = 0; i < 5; i++) await server.accept()
    assert.equal(server.count, 5)
  })
})

describe('both ways on one stream (XEP-0288)', () => {
  test('is offered to links once the peer has shown who it is', async t => {
    const { us, peer } = await inside(t, {}, true)
    assert.deepEqual(us.talks.offers, [`${US} ${THEM}`])
    peer.write(`<enable xmlns='${NS_SM}'/>`)
    assert.equal((await peer.element()).name, 'enabled')
    const { wire } = us.talks.begun[0]!
    assert.equal(wire!.info.bidi, true)
    wire!.send(`<message from='juliet@${US}' to='romeo@${THEM}'/>`)
    assert.equal((await peer.element()).attrs['from'], `juliet@${US}`)
  })

  test('another domain of ours is asked for on it', async t => {
    const { us, peer, id } = await inside(t, {}, true)
    peer.write(`<enable xmlns='${NS_SM}'/>`)
    await peer.element()
    const { wire, sends } = us.talks.begun[0]!
    const pair = { local: `rooms.${US}`, remote: THEM }
    const taken = wire!.authenticate(pair)
    const asked = await peer.element()
    assert.deepEqual([asked.name, asked.attrs['from'], asked.attrs['to']], ['result', pair.local, THEM])
    assert.equal(asked.text, us.federating.server.keys.keyFor(pair, id))
    peer.write(`<db:result from='${THEM}' to='${pair.local}' type='valid'/>`)
    assert.equal(await taken, true)
    assert.ok(sends.has(pair.local, THEM))
    assert.equal(await wire!.authenticate({ local: US, remote: 'verona.example' }), false)
    const refused = wire!.authenticate({ local: `x.${US}`, remote: THEM })
    await peer.element()
    peer.write(
      `<db:result from='${THEM}' to='x.${US}' type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>`,
    )
    assert.equal(await refused, false)
  })

  test('with what the peer takes, where it says so (XEP-0478)', async t => {
    const { us, peer } = await inside(t)
    const limits = (bytes: number) =>
      `<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>${bytes}</max-bytes></limits>`
    peer.write(`<bidi xmlns='${NS_BIDI}'>${limits(30_000)}</bidi><enable xmlns='${NS_SM}'/>`)
    await peer.element()
    assert.equal(us.talks.begun[0]!.wire!.maxBytes, 30_000)
    peer.write(`<bidi xmlns='${NS_BIDI}'>${limits(1)}</bidi><r xmlns='${NS_SM}'/>`)
    await us.talks.hears('open')
    await eventually(() => us.talks.begun[0]!.heard.includes('r'), 'what comes after it')
    assert.equal(us.talks.begun[0]!.wire!.maxBytes, 10_000, 'so much everybody takes (RFC 6120 13.12)')
  })

  test('is not there where nobody asks for it', async t => {
    const { us, peer } = await inside(t)
    peer.write(`<enable xmlns='${NS_SM}'/>`)
    await peer.element()
    assert.deepEqual(us.talks.offers, [])
    assert.equal(await us.talks.begun[0]!.wire!.authenticate({ local: US, remote: THEM }), false)
  })
})

describe('stream management', () => {
  test('is enabled, asked and answered', async t => {
    const { us, peer } = await inside(t)
    peer.write(`<enable xmlns='${NS_SM}' resume='true'/>`)
    const { name, attrs } = await peer.element()
    assert.deepEqual([name, attrs['resume'], attrs['max']], ['enabled', 'true', '300'])
    assert.match(attrs['id']!, /^[0-9a-f]{32}$/)
    peer.write(`${CHAT}<r xmlns='${NS_SM}'/><a xmlns='${NS_SM}' h='3'/>`)
    const { heard } = await us.talks.hears('a 3')
    assert.deepEqual(heard, ['open sm', CHAT, 'r', 'a 3'])
    peer.write(`<enable xmlns='${NS_SM}'/>`)
    const failed = await peer.element()
    assert.deepEqual([failed.name, failed.children[0]?.name], ['failed', 'unexpected-request'])
  })

  test('begins after stanzas, too', async t => {
    const { us, peer } = await inside(t)
    peer.write(CHAT)
    peer.write(`<enable xmlns='${NS_SM}'/>`)
    assert.equal((await peer.element()).attrs['id'], undefined)
    assert.deepEqual((await us.talks.hears('open')).heard, [CHAT, 'open sm'])
  })

  test('is resumed by who knows its id and is who it was', async t => {
    const { us, peer, at, connect } = await inside(t)
    peer.write(`<enable xmlns='${NS_SM}' resume='true'/>`)
    const id = (await peer.element()).attrs['id']!
    peer.cut()
    await us.talks.hears('parted')
    const stranger = await connect()
    await stranger.encrypt('verona.example', US, at.ca.issue(['verona.example']))
    await stranger.external('verona.example', US)
    stranger.write(`<resume xmlns='${NS_SM}' previd='${id}' h='0'/>`)
    const no = await stranger.element()
    assert.deepEqual([no.name, no.children[0]?.name, no.attrs['h']], ['failed', 'item-not-found', undefined])
    const again = await connect()
    await again.encrypt(THEM, US, at.ca.issue([THEM]))
    await again.external(THEM, US)
    again.write(`<resume xmlns='${NS_SM}' previd='ended' h='0'/>`)
    assert.equal((await again.element()).attrs['h'], '7')
    again.write(`<resume xmlns='${NS_SM}' previd='${id}' h='5'/>`)
    const resumed = await again.element()
    assert.deepEqual([resumed.name, resumed.attrs['previd'], resumed.attrs['h']], ['resumed', id, '0'])
    again.write(CHAT)
    const { heard } = await us.talks.hears('<message')
    assert.deepEqual(heard.slice(-2), ['resumed 5', CHAT])
  })

  test('before a login it is refused', async t => {
    const { at, connect } = await here(t)
    const peer = await connect()
    await peer.encrypt(THEM, US, at.ca.issue([THEM]))
    peer.write(`<enable xmlns='${NS_SM}'/>`)
    assert.equal((await peer.element()).name, 'failed')
  })

  test('a peer without it is opened by itself', async t => {
    const { us } = await inside(t)
    assert.deepEqual((await us.talks.hears('open')).heard, ['open ping'])
  })
})

describe('hostile peers', () => {
  test('that send too much before they log in are sent away', async t => {
    const { connect } = await here(t, { listen: { pre_auth_bytes: 10_000 } })
    const peer = await connect()
    await peer.begin(THEM, US)
    for (let i = 0; i < 200; i++) peer.write(result(THEM, US, 'x'.repeat(100)))
    for (;;) {
      const heard = await peer.next()
      if ('end' in heard) break
    }
  })

  test('that take their time are sent away', async t => {
    const { connect } = await here(t, { listen: { pre_auth_timeout: '1s' } })
    const peer = await connect()
    await peer.begin(THEM, US)
    assert.equal(await peer.streamError(), 'connection-timeout')
  })

  test('that come too often are sent away', async t => {
    const { connect } = await here(t, { listen: { max_connections_per_ip: 2 } })
    for (let i = 0; i < 2; i++) await (await connect()).begin(THEM, US)
    const third = await connect()
    assert.equal(await third.streamError(), 'policy-violation')
  })

  test('that break XML end their stream, and no other', async t => {
    const { peer, us, connect, at } = await inside(t)
    const other = await connect()
    await other.encrypt('verona.example', US, at.ca.issue(['verona.example']))
    await other.external('verona.example', US)
    peer.write('<message><body></message>')
    assert.equal(await peer.streamError(), 'not-well-formed')
    other.write(CHAT.replaceAll(THEM, 'verona.example'))
    await us.talks.hears("<message from='romeo@verona.example")
  })

  test('that do not read what they ask for are sent away', async t => {
    const { peer, us } = await inside(t)
    peer.socket.pause()
    const asking =
      `<db:verify from='${'x'.repeat(60)}.example' to='${US}' id='${'i'.repeat(1000)}'>k</db:verify>`.repeat(100)
    const timer = setInterval(() => peer.write(asking), 1)
    t.after(() => clearInterval(timer))
    const { heard } = await us.talks.hears('parted')
    assert.match(heard.at(-1)!, /you do not read/)
  })

  test('unknown elements end the stream', async t => {
    const { peer } = await inside(t)
    peer.write("<x xmlns='urn:example:unknown'/>")
    assert.equal(await peer.streamError(), 'unsupported-stanza-type')
  })
})

describe('the end', () => {
  test('a stream that the peer closes is closed, and what was said is over', async t => {
    const { peer, us } = await inside(t)
    peer.write(`<enable xmlns='${NS_SM}' resume='true'/>`)
    await peer.element()
    peer.write('</stream:stream>')
    assert.deepEqual(await peer.next(), { end: 'stream' })
    assert.deepEqual(us.talks.begun[0]!.heard, ['open sm', 'over'])
  })

  test('one that the peer ends with an error is broken, and what it said is the reason', async t => {
    const { peer, us } = await inside(t)
    peer.write(`<enable xmlns='${NS_SM}' resume='true'/>`)
    await peer.element()
    peer.write(
      "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>bye</text></stream:error></stream:stream>",
    )
    assert.deepEqual(await peer.next(), { end: 'stream' })
    const [, parted] = us.talks.begun[0]!.heard
    assert.equal(parted, 'parted: it ended the stream: system-shutdown: bye')
    assert.equal(us.log.at(-1)!.reason, 'system-shutdown: bye')
  })

  test('all streams are closed when we stop', async t => {
    const { peer, us, connect, at } = await inside(t)
    const waiting = await connect()
    await waiting.encrypt('verona.example', US, at.ca.issue(['verona.example']))
    await us.federating.stop()
    assert.equal(await peer.streamError(), 'system-shutdown')
    assert.equal(await waiting.streamError(), 'system-shutdown')
  })

  test('one that carries nothing is closed, but not while something is unacknowledged', async t => {
    const { peer, us } = await inside(t, { s2s: { idle_timeout: '1s' } })
    const talk = us.talks.begun[0]!
    talk.quiet = false
    await assert.rejects(peer.next(1500), /nothing came/)
    talk.quiet = true
    await peer.ended()
    assert.equal(talk.heard.at(-1), 'over')
  })
})

const limits = (features: XmlElement): XmlElement | undefined => child(features, 'limits')
test('limits are announced', async t => {
  const { at, connect } = await here(t, { listen: { max_stanza_size: 20_000 }, s2s: { idle_timeout: '90s' } })
  const peer = await connect()
  const { features } = await peer.encrypt(THEM, US, at.ca.issue([THEM]))
  assert.deepEqual(
    limits(features)!.children.map(({ name, text }) => [name, text]),
    [
      ['max-bytes', '20000'],
      ['idle-seconds', '90'],
    ],
  )
})

test('a server may send more than a client: it adds to what its clients have sent', async t => {
  const { at, connect } = await here(t)
  const peer = await connect()
  const { features } = await peer.encrypt(THEM, US, at.ca.issue([THEM]))
  assert.equal(limits(features)!.children[0]!.text, '524288')
})
