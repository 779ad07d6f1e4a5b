/** What we say to another server to send to it, and what comes of its answers; it is a raw socket. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { PeerError } from '../../../src/s2s/peererror.ts'
import { freeAddress } from '../../support/loopback.ts'
import { NS_BIDI, NS_SASL, NS_SM, type RawPeer, RawPeerServer } from '../../support/rawpeer.ts'
import { type EngineOptions, engine, world } from './support.ts'

const US = 'capulet.example'
const THEM = 'montague.example'
const PAIR = { local: US, remote: THEM }
const ROOMS = { local: `rooms.${US}`, remote: THEM }
const EXTERNAL = `<mechanisms xmlns='${NS_SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>`
const DIALBACK = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
const BIDI = "<bidi xmlns='urn:xmpp:features:bidi'/>"
const SM = `<sm xmlns='${NS_SM}'/>`
const ID = 'id-of-the-raw-peer'

/** Us, and them as a raw socket. */
async function both(t: TestContext, options: Partial<EngineOptions> = {}) {
  const at = await world(t)
  const us = await engine(t, at, { domains: [US, ROOMS.local], ip: freeAddress(), ...options })
  const ip = freeAddress()
  const server = await RawPeerServer.listen(t, { ip })
  at.dns.zone[THEM] = { A: [ip] }
  at.dns.zone[`_xmpp-server._tcp.${THEM}`] = { SRV: [{ port: 5269, target: THEM }] }
  const connect = (pair = PAIR, before?: Parameters<typeof us.federating.connector.connect>[1]) =>
    us.federating.connector.connect(pair, before, new AbortController().signal)
  /** What an attempt comes to. */
  const failure = async (attempt: Promise<unknown>): Promise<PeerError> => {
    const error = await attempt.then(
      () => undefined,
      (error: unknown) => error,
    )
    if (!(error instanceof PeerError)) assert.fail(`not a PeerError: ${error}`)
    return error
  }
  return { at, us, ip, server, connect, failure, own: at.ca.issue([THEM]) }
}

const valid = (pair = PAIR): string => `<db:result from='${pair.remote}' to='${pair.local}' type='valid'/>`

describe('a login', () => {
  test('by certificate, then stream management', async t => {
    const { us, server, connect, own } = await both(t)
    const connected = connect()
    const { peer, from, to } = await server.encrypted(own, EXTERNAL + DIALBACK)
    assert.deepEqual([from, to], [US, THEM])
    const auth = await peer.element()
    assert.deepEqual([auth.attrs['mechanism'], Buffer.from(auth.text, 'base64').toString()], ['EXTERNAL', US])
    peer.write(`<success xmlns='${NS_SASL}'/>`)
    peer.restart()
    assert.deepEqual(
      Object.entries(await peer.header()).filter(([name]) => name === 'to'),
      [['to', THEM]],
    )
    peer.open({ from: THEM, to: US, id: 'after' })
    peer.write(`<stream:features>${SM}</stream:features>`)
    const enable = await peer.element()
    assert.deepEqual([enable.name, enable.attrs['resume']], ['enable', 'true'])
    peer.write(`<enabled xmlns='${NS_SM}' id='resume-me' resume='true'/>`)
    const talk = await connected
    assert.deepEqual([talk.resumeId, us.talks.begun[0]!.heard], ['resume-me', ['open sm']])
    assert.deepEqual([[...talk.sends], [...talk.receives]], [[PAIR], []])
  })

  test('by certificate that is asked for what it has said', async t => {
    const { server, connect, own } = await both(t)
    const connected = connect()
    const { peer } = await server.encrypted(own, EXTERNAL)
    await peer.element()
    peer.write(`<challenge xmlns='${NS_SASL}'/>`)
    assert.deepEqual([(await peer.element()).text], ['='])
    peer.write(`<success xmlns='${NS_SASL}'/>`)
    peer.restart()
    await peer.header()
    peer.open({ from: THEM, to: US, id: 'after' })
    peer.write('<stream:features/>')
    assert.equal((await connected).sends.size, 1)
  })

  test('by dialback where the certificate is refused', async t => {
    const { us, server, connect, own } = await both(t)
    const connected = connect()
    const { peer } = await server.encrypted(own, EXTERNAL + DIALBACK)
    await peer.element()
    peer.write(`<failure xmlns='${NS_SASL}'><not-authorized/></failure>`)
    const asked = await peer.element()
    assert.deepEqual([asked.name, asked.attrs['from'], asked.attrs['to']], ['result', US, THEM])
    assert.equal(asked.text, us.federating.server.keys.keyFor(PAIR, ID))
    peer.write(valid())
    await connected
    assert.deepEqual(us.talks.begun[0]!.heard, ['open ping'])
    assert.equal(us.talks.begun[0]!.wire!.info.method, 'dialback')
  })

  test('by dialback where we have no certificate, to a server that has none that is valid', async t => {
    const { server, connect, at } = await both(t, { certificate: 'self' })
    const connected = connect(ROOMS)
    const { peer } = await server.encrypted(at.ca.expired(THEM), '')
    const asked = await peer.element()
    assert.deepEqual([asked.name, asked.attrs['from']], ['result', ROOMS.local])
    peer.write(valid(ROOMS))
    await connected
  })

  test('with TLS from the first byte, where an SRV record says so', async t => {
    const { at, server, connect, own, ip } = await both(t)
    at.dns.zone[`_xmpp-server._tcp.${THEM}`] = { SRV: [{ port: 0, target: '.' }] }
    at.dns.zone[`_xmpps-server._tcp.${THEM}`] = { SRV: [{ port: server.port, target: THEM }] }
    at.dns.zone[THEM] = { A: [ip] }
    const connected = connect()
    const peer = await server.accept()
    await peer.serveTls(own)
    await peer.header()
    peer.open({ from: THEM, to: US, id: ID })
    peer.write(`<stream:features>${DIALBACK}</stream:features>`)
    await peer.element()
    peer.write(valid())
    await connected
  })

  test('with stanzas at once in the other direction, where both ways were asked for', async t => {
    const { us, server, connect, own } = await both(t)
    const connected = connect()
    const { peer } = await server.encrypted(own, DIALBACK + BIDI)
    const bidi = await peer.element()
    assert.deepEqual([bidi.name, bidi.ns, bidi.children[0]?.name], ['bidi', NS_BIDI, 'limits'])
    await peer.element()
    const chat = `<message from='romeo@${THEM}' to='juliet@${US}'><body>hi</body></message>`
    peer.write(valid() + chat)
    const talk = await connected
    await us.talks.hears('<message')
    assert.deepEqual([...talk.receives], [PAIR])
    // Its other domains it has to show.
    peer.write(`<db:result from='rooms.${THEM}' to='verona.example'>k</db:result>`)
    assert.equal((await peer.element()).attrs['type'], 'error')
    peer.write(chat.replace('romeo@', 'room@rooms.'))
    assert.equal(await peer.streamError(), 'invalid-from')
  })

  test('and nothing in the other direction where they were not', async t => {
    const { server, connect, own } = await both(t)
    const connected = connect()
    const { peer } = await server.encrypted(own, DIALBACK)
    await peer.element()
    peer.write(valid())
    await connected
    peer.write(`<message from='romeo@${THEM}' to='juliet@${US}'><body>hi</body></message>`)
    assert.equal(await peer.streamError(), 'invalid-from')
  })
})

describe('an attempt comes to nothing', () => {
  const cases: [string, string, RegExp, string][] = [
    ['who has no TLS', '<stream:features/>', /does not offer TLS/, 'remote-server-timeout'],
    [
      'who does not serve the domain',
      "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>not here</text></stream:error></stream:stream>",
      /ended the stream: host-unknown \(not here\)/,
      'remote-server-not-found',
    ],
    ['who closes', '</stream:stream>', /closed the stream/, 'remote-server-timeout'],
    ['who breaks XML', '<a></b>', /not-well-formed/, 'remote-server-timeout'],
    ['who speaks of something else', "<x xmlns='urn:x'/>", /unsupported-stanza-type/, 'remote-server-timeout'],
  ]
  for (const [who, what, words, condition] of cases) {
    test(`with one ${who}`, async t => {
      const { server, connect, failure } = await both(t)
      const attempt = failure(connect())
      const peer = await server.accept()
      await peer.header()
      peer.open({ from: THEM, to: US, id: 'plain' })
      peer.write(what)
      const error = await attempt
      assert.match(error.text, words)
      assert.match(error.text, new RegExp(`^${THEM}: ${THEM}, 127[.\\d]+:5269 `))
      assert.equal(error.condition, condition)
    })
  }

  test('with one that says that it is another', async t => {
    const { server, connect, failure } = await both(t)
    const attempt = failure(connect())
    const peer = await server.accept()
    await peer.header()
    peer.open({ from: 'verona.example', to: US, id: 'plain' })
    assert.match((await attempt).text, /says that it is verona\.example/)
  })

  test('with one that will not begin TLS, or cannot', async t => {
    const { server, connect, failure } = await both(t)
    for (const [answer, words] of [
      ["<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>", /would not begin TLS/],
      ["<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", /failed: /],
    ] as const) {
      const attempt = failure(connect())
      const peer = await server.accept()
      await peer.header()
      peer.open({ from: THEM, to: US, id: 'plain' })
      peer.write("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")
      await peer.element()
      peer.write(answer)
      await peer.next() // its end, or what is no XML
      peer.write('this is no TLS at all')
      assert.match((await attempt).text, words)
    }
  })

  test('where a valid certificate is required, and there is none', async t => {
    const { at, us, server, connect, failure } = await both(t, { s2s: { policy: 'require_valid_certificate' } })
    const attempt = failure(connect())
    const { peer } = await server.encrypted(at.ca.expired(THEM), EXTERNAL + DIALBACK)
    const { text, condition } = await attempt
    assert.match(text, /has no valid certificate \(s2s\.policy asks for one\): .*expired/)
    assert.equal(condition, 'remote-server-timeout')
    await peer.ended()
    assert.equal(us.talks.begun.length, 0)
  })

  test('where neither certificate nor dialback is taken', async t => {
    const { server, connect, failure, own } = await both(t)
    const attempt = failure(connect())
    const { peer } = await server.encrypted(own, EXTERNAL)
    await peer.element()
    peer.write(`<failure xmlns='${NS_SASL}'><not-authorized/></failure>`)
    await peer.element()
    peer.write(
      `<db:result from='${THEM}' to='${US}' type='error'><error type='cancel'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>`,
    )
    assert.match((await attempt).text, /in by dialback: policy-violation, nor by its certificate: not-authorized/)
  })

  test('where the configuration does not allow it', async t => {
    const { server, connect, failure } = await both(t, { s2s: { access: 'none' } })
    const { condition, text } = await failure(connect())
    assert.deepEqual([condition, text], ['forbidden', `${THEM}: s2s.access does not allow it`])
    assert.equal(server.count, 0)
  })

  test('where nobody answers in time', async t => {
    const { server, connect, failure } = await both(t, { s2s: { connect_timeout: '1s' } })
    const attempt = failure(connect())
    const peer = await server.accept()
    const { condition, text } = await attempt
    assert.equal(condition, 'remote-server-timeout')
    assert.match(text, /it took longer than 1 s \(s2s\.connect_timeout\)/)
    await peer.ended()
  })

  test('where it is no longer wanted', async t => {
    const { us, server } = await both(t)
    const gone = new AbortController()
    const attempt = us.federating.connector.connect(PAIR, undefined, gone.signal)
    const peer = await server.accept()
    gone.abort(new Error('no longer'))
    await assert.rejects(attempt, /no longer/)
    await peer.ended()
  })

  test('where a pair that was not asked for is granted', async t => {
    const { us, server, connect, own } = await both(t)
    const connected = connect()
    const { peer } = await server.encrypted(own, DIALBACK)
    await peer.element()
    peer.write(
      valid(ROOMS) +
        valid({ local: US, remote: 'verona.example' }) +
        `<db:verify from='${THEM}' to='${US}' id='${ID}' type='valid'/>`,
    )
    peer.write(valid())
    assert.deepEqual([...(await connected).sends], [PAIR])
    assert.equal(us.talks.begun.length, 1)
  })
})

test('the next server of the domain is tried where the first will not do', async t => {
  const { at, server, connect, own } = await both(t)
  const ip = freeAddress()
  const first = await RawPeerServer.listen(t, { ip })
  at.dns.zone['first.example'] = { A: [ip] }
  at.dns.zone[`_xmpp-server._tcp.${THEM}`] = {
    SRV: [
      { port: 5269, target: 'first.example', priority: 1 },
      { port: 5269, target: THEM, priority: 2 },
    ],
  }
  const connected = connect()
  const peer = await first.accept()
  await peer.header()
  peer.cut()
  const { peer: second } = await server.encrypted(own, DIALBACK)
  await second.element()
  second.write(valid())
  await connected
})

describe('a server that sends us to another (RFC 6120 4.9.3.19)', () => {
  const other = (where: string): string =>
    `<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>${where}</see-other-host></stream:error></stream:stream>`

  /** Answers the next connection so. */
  async function sends(server: RawPeerServer, where: string): Promise<void> {
    const peer = await server.accept()
    await peer.header()
    peer.open({ from: THEM, to: US, id: 'plain' })
    peer.write(other(where))
  }

  test('is followed, to a server that has to show the same', async t => {
    const { at, server, connect, own } = await both(t, { s2s: { policy: 'require_valid_certificate' } })
    const ip = freeAddress()
    at.dns.zone['second.example'] = { A: [ip] }
    const second = await RawPeerServer.listen(t, { ip, port: 5999 })
    const connected = connect()
    await sends(server, 'second.example:5999')
    const { peer, to } = await second.encrypted(own, DIALBACK)
    assert.equal(to, THEM)
    await peer.element()
    peer.write(valid())
    await connected
  })

  test('is followed once', async t => {
    const { server, connect, failure, ip } = await both(t)
    const attempt = failure(connect())
    await sends(server, ip)
    await sends(server, ip)
    const { text } = await attempt
    assert.equal(text.match(/ended the stream: see-other-host/g)?.length, 2)
    assert.equal(server.count, 2)
  })

  test('to nowhere, or to what is no place, is told', async t => {
    const { server, connect, failure } = await both(t)
    for (const [where, words] of [
      ['nowhere.invalid', /see-other-host: nowhere\.invalid; nowhere\.invalid is no name/],
      ['a place: 1', /see-other-host: a place: 1/],
      ['second.example:0', /see-other-host: second\.example:0/],
    ] as const) {
      const attempt = failure(connect())
      await sends(server, where)
      assert.match((await attempt).text, words)
    }
    assert.equal(server.count, 3)
  })
})

describe('another domain of ours', () => {
  async function open(t: TestContext, features = DIALBACK) {
    const all = await both(t)
    const connected = all.connect()
    const { peer } = await all.server.encrypted(all.own, features)
    await peer.element()
    peer.write(valid())
    const talk = await connected
    return { ...all, peer, talk, wire: all.us.talks.begun[0]!.wire! }
  }

  test('goes on the same stream, where the peer takes it', async t => {
    const { us, peer, talk, wire } = await open(t)
    const taken = wire.authenticate(ROOMS)
    const asked = await peer.element()
    assert.equal(asked.text, us.federating.server.keys.keyFor(ROOMS, ID))
    peer.write(valid(ROOMS))
    assert.equal(await taken, true)
    assert.ok(talk.sends.has(ROOMS.local, THEM))
    assert.equal(await wire.authenticate(ROOMS), true, 'it is not asked for again')
  })

  test('does not, where it says no, or goes away', async t => {
    const { peer, talk, wire } = await open(t)
    const refused = wire.authenticate(ROOMS)
    await peer.element()
    peer.write(`<db:result from='${THEM}' to='${ROOMS.local}' type='invalid'/>`)
    assert.equal(await refused, false)
    const lost = wire.authenticate(ROOMS)
    await peer.element()
    peer.cut()
    assert.equal(await lost, false)
    assert.equal(talk.sends.size, 1)
  })

  test('is not asked for where dialback is not offered, nor for another domain of theirs', async t => {
    const { wire } = await open(t, '')
    assert.equal(await wire.authenticate(ROOMS), false)
    const more = await open(t)
    assert.equal(await more.wire.authenticate({ local: US, remote: `rooms.${THEM}` }), false)
  })
})

describe('a conversation that broke', () => {
  async function broken(t: TestContext) {
    const all = await both(t)
    const login = async (): Promise<RawPeer> => {
      const { peer } = await all.server.encrypted(all.own, DIALBACK + SM)
      await peer.element()
      peer.write(valid())
      return peer
    }
    const connected = all.connect()
    const peer = await login()
    await peer.element()
    peer.write(`<enabled xmlns='${NS_SM}' id='1st' resume='1'/>`)
    const talk = await connected
    peer.cut()
    await all.us.talks.hears('parted')
    return { ...all, login, before: talk }
  }

  test('is resumed', async t => {
    const { us, login, connect, before } = await broken(t)
    us.talks.begun[0]!.h = 3
    const again = connect(PAIR, before)
    const peer = await login()
    const { name, attrs } = await peer.element()
    assert.deepEqual([name, attrs['previd'], attrs['h']], ['resume', '1st', '3'])
    peer.write(`<resumed xmlns='${NS_SM}' previd='1st' h='2'/>`)
    assert.equal(await again, before)
    assert.equal(us.talks.begun[0]!.heard.at(-1), 'resumed 2')
    us.talks.begun[0]!.wire!.send('<presence/>')
    assert.equal((await peer.element()).name, 'presence')
  })

  for (const h of [undefined, 2]) {
    test(`is over where the peer has forgotten it, ${h ?? 'and how far it was'}`, async t => {
      const { us, login, connect, before } = await broken(t)
      const again = connect(PAIR, before)
      const peer = await login()
      await peer.element()
      peer.write(
        `<failed xmlns='${NS_SM}'${h === undefined ? '' : ` h='${h}'`}><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>`,
      )
      assert.equal((await peer.element()).name, 'enable')
      peer.write(
        `<failed xmlns='${NS_SM}'><feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>`,
      )
      const talk = await again
      assert.notEqual(talk, before)
      assert.equal(us.talks.begun[0]!.heard.at(-1), h === undefined ? 'over' : 'over 2')
      assert.deepEqual(us.talks.begun.at(-1)!.heard, ['open ping'])
    })
  }

  test('is not taken for another', async t => {
    const { login, connect, before, failure } = await broken(t)
    const again = failure(connect(PAIR, before))
    const peer = await login()
    await peer.element()
    peer.write(`<resumed xmlns='${NS_SM}' previd='2nd' h='2'/>`)
    assert.match((await again).text, /not what was to be resumed/)
  })
})
