/** XEP-0114: gateways, bots and services with a domain of their own. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RawComponent } from '../support/rawcomponent.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { nothing, online, refused, says, serve } from '../support/talk.ts'
import { type TestServer, testModule } from '../support/testserver.ts'

const NAME = 'irc.localhost'
const HOSTS = { hosts: { [NAME]: { password: 'secret', name: 'IRC' } } }

const login = (server: TestServer, options: { name?: string; password?: string; autoPong?: boolean } = {}) =>
  RawComponent.login({ port: server.componentPort, name: NAME, ...options })

const isError = (id: string) => (el: XmlElement) => el.attrs['type'] === 'error' && el.attrs['id'] === id

describe('logging in', () => {
  test('a component says which one it is and shows that it knows the secret', async t => {
    const server = await serve(t, { component: HOSTS })
    const component = await RawComponent.connect({ port: server.componentPort, name: NAME })
    assert.match(component.header, / from='irc\.localhost'/)
    assert.match(component.header, / id='[0-9a-f]{32}'/)
    assert.doesNotMatch(component.header, / version=/)
    await component.handshake()
    const answer = await component.request('get', "<query xmlns='jabber:iq:version'/>", 'localhost')
    assert.equal(answer.attrs['to'], NAME)
  })

  test('a wrong secret, an unknown domain, a stanza before the handshake', async t => {
    const server = await serve(t, { component: HOSTS })
    const port = server.componentPort
    const wrong = await RawComponent.connect({ port, name: NAME })
    await assert.rejects(wrong.handshake('guess'))
    assert.equal(await wrong.ended(), 'not-authorized')

    const unknown = await RawComponent.connect({ port, name: 'icq.localhost' })
    assert.equal(await unknown.ended(), 'host-unknown')
    assert.match(unknown.header, /<stream:stream /)
    // A host of the server is no component either.
    assert.equal(await (await RawComponent.connect({ port, name: 'localhost' })).ended(), 'host-unknown')

    const early = await RawComponent.connect({ port, name: NAME })
    early.send("<message to='romeo@localhost'><body>hi</body></message>")
    assert.equal(await early.ended(), 'not-authorized')
  })

  test('clients are not let in at the port of components, nor components at that of clients', async t => {
    const server = await serve(t, { component: HOSTS })
    const client = await RawComponent.connect({ port: server.port, name: NAME })
    assert.equal(await client.ended(), 'invalid-namespace')
  })

  test('who guesses at a secret is soon not heard any more, also with the right one; clients still are', async t => {
    const server = await serve(t, { component: HOSTS, config: { max_failures_per_account: 3 } })
    const port = server.componentPort
    for (let i = 0; i < 3; i++) {
      const guess = await RawComponent.connect({ port, name: NAME })
      await assert.rejects(guess.handshake(`guess ${i}`))
    }
    const late = await RawComponent.connect({ port, name: NAME })
    await assert.rejects(late.handshake())
    assert.equal(await late.ended(), 'policy-violation')
    await server.client('romeo')
  })

  test('only from where the listener’s rule says', async t => {
    const config = { access_rules: { elsewhere: [{ allow: 'away' }] }, acl: { away: { ip: ['192.0.2.0/24'] } } }
    const server = await serve(t, { component: { ...HOSTS, access: 'elsewhere' }, config })
    const component = await RawComponent.connect({ port: server.componentPort, name: NAME })
    await assert.rejects(component.handshake())
    assert.equal(await component.ended(), 'not-authorized')
  })

  test('who does not go on is sent away', async t => {
    const server = await serve(t, { component: { ...HOSTS, pre_auth_timeout: '1s', pre_auth_bytes: 10_000 } })
    const slow = await RawComponent.connect({ port: server.componentPort, name: NAME })
    assert.equal(await slow.ended(), 'connection-timeout')
    const greedy = await RawComponent.connect({ port: server.componentPort, name: NAME })
    greedy.write(`<handshake>${'a'.repeat(20_000)}</handshake>`)
    assert.equal(await greedy.ended(), 'policy-violation')
  })

  test('with TLS from the first byte', async t => {
    const server = await serve(t, { component: { ...HOSTS, tls: true } })
    const component = await RawComponent.login({ port: server.componentPort, name: NAME, tls: true })
    await component.ping()
  })

  test('with STARTTLS, where it is offered, for who says to speak XMPP 1.0', async t => {
    const server = await serve(t, { component: { ...HOSTS, starttls: true } })
    const options = { port: server.componentPort, name: NAME }
    const component = await RawComponent.connect({ ...options, header: "version='1.0'" })
    assert.match(component.header, / version='1\.0'/)
    const features = await component.receive(el => el.name === 'features')
    assert.ok(child(child(features, 'starttls'), 'required'))
    await component.secure()
    await component.receive(el => el.name === 'features')
    await component.handshake()
    await component.ping()

    const plain = await RawComponent.connect(options)
    assert.equal(await plain.ended(), 'policy-violation')
    const stubborn = await RawComponent.connect({ ...options, header: "version='1.0'" })
    await assert.rejects(stubborn.handshake())
    assert.equal(await stubborn.ended(), 'policy-violation')

    const lenient = await serve(t, { component: { ...HOSTS, starttls: true, starttls_required: false } })
    const old = await login(lenient)
    assert.doesNotMatch(old.header, / version=/)
    await old.ping()
  })
})

describe('stanzas', () => {
  test('go both ways, whatever address of the component they are from and to', async t => {
    const server = await serve(t, { component: HOSTS })
    const [romeo] = await online(server, 'romeo')
    const component = await login(server)

    romeo.send(`<message to='#verona%irc.example@${NAME}' type='chat' id='1'><body>anybody here?</body></message>`)
    const message = await component.receive(says('anybody here?'))
    assert.equal(message.attrs['from'], romeo.jid)
    assert.equal(message.attrs['to'], `#verona%irc.example@${NAME}`)
    assert.equal(message.ns, 'jabber:component:accept')

    component.send(`<message to='romeo@localhost' type='chat'><body>hello</body></message>`, `nurse@${NAME}/1`)
    assert.equal((await romeo.receive(says('hello'))).attrs['from'], `nurse@${NAME}/1`)

    const asked = romeo.request('get', "<query xmlns='jabber:iq:version'/>", NAME)
    const question = await component.receive(el => el.name === 'iq' && el.attrs['type'] === 'get')
    component.send(
      `<iq type='result' id='${question.attrs['id']}' to='${romeo.jid}'><query xmlns='jabber:iq:version'/></iq>`,
    )
    assert.equal((await asked).attrs['from'], NAME)
  })

  test('of the namespace of clients are taken too', async t => {
    const server = await serve(t, { component: HOSTS })
    const [romeo] = await online(server, 'romeo')
    const component = await login(server)
    component.send("<message xmlns='jabber:client' to='romeo@localhost'><body>hello</body></message>")
    await romeo.receive(says('hello'))
  })

  test('of somebody else end the stream', async t => {
    const server = await serve(t, { component: HOSTS })
    const [romeo] = await online(server, 'romeo')
    for (const from of ['juliet@localhost', 'localhost', `sub.${NAME}`, 'elsewhere.example']) {
      const component = await login(server)
      component.send("<message to='romeo@localhost' type='chat'><body>I am somebody else</body></message>", from)
      assert.equal(await component.ended(), 'invalid-from', from)
    }
    const nameless = await login(server)
    nameless.write("<message to='romeo@localhost'><body>I am nobody</body></message>")
    assert.equal(await nameless.ended(), 'improper-addressing')
    await nothing(romeo, el => el.name === 'message')
  })

  test('that cannot be addressed are answered, and the stream goes on', async t => {
    const server = await serve(t, { component: HOSTS })
    const component = await login(server)
    component.send("<message id='1'><body>to nobody</body></message>")
    assert.equal(errorCondition(await component.receive(isError('1'))), 'bad-request')
    component.send("<message to='@' id='2'><body>to nowhere</body></message>")
    assert.equal(errorCondition(await component.receive(isError('2'))), 'jid-malformed')
    component.write("<presence from='a@b@c' to='romeo@localhost' id='3'/>")
    assert.equal(errorCondition(await component.receive(isError('3'))), 'jid-malformed')
    component.send("<iq type='get' to='localhost' id='4'/>")
    assert.equal(errorCondition(await component.receive(isError('4'))), 'bad-request')
    await component.ping()
  })

  test('that nobody knows end the stream', async t => {
    const server = await serve(t, { component: HOSTS })
    for (const nonza of [
      '<route/>',
      "<message xmlns='jabber:server'/>",
      '<handshake/>',
      "<r xmlns='urn:xmpp:sm:3'/>",
    ]) {
      const component = await login(server)
      component.write(nonza)
      assert.equal(await component.ended(), 'unsupported-stanza-type', nonza)
    }
  })

  test('an error by which the component ends its stream is no stanza: it is heard, and the end is answered', async t => {
    const server = await serve(t, { component: HOSTS })
    const component = await login(server)
    component.write("<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
    assert.equal(await component.ended(), '')
  })

  test('that are too large, too deep or no XML end the stream, and only that', async t => {
    const hosts = { [NAME]: { password: 'secret' }, 'bot.localhost': { password: 'secret' } }
    const server = await serve(t, { component: { hosts, max_stanza_size: 10_000 } })
    const bot = await login(server, { name: 'bot.localhost' })
    for (const [condition, xml] of [
      ['policy-violation', `<message from='${NAME}' to='localhost'><body>${'a'.repeat(20_000)}</body></message>`],
      ['policy-violation', `<message from='${NAME}' to='localhost'>${'<a>'.repeat(100)}`],
      ['not-well-formed', '<message></presence>'],
      ['restricted-xml', '<!-- a comment -->'],
    ]) {
      const component = await login(server)
      component.write(xml!)
      assert.equal(await component.ended(), condition)
    }
    await bot.ping()
  })

  test('of one component reach another', async t => {
    const hosts = { [NAME]: { password: 'secret' }, 'bot.localhost': { password: 'secret' } }
    const server = await serve(t, { component: { hosts } })
    const [component, bot] = [await login(server), await login(server, { name: 'bot.localhost' })]
    component.send("<message to='bot.localhost' type='chat'><body>hello</body></message>")
    assert.equal((await bot.receive(says('hello'))).attrs['from'], NAME)
  })

  test('of who is not allowed to reach it are refused', async t => {
    const hosts = { [NAME]: { password: 'secret', access: 'staff' } }
    const config = { access_rules: { staff: [{ allow: 'staff' }] }, acl: { staff: { user: ['juliet@localhost'] } } }
    const server = await serve(t, { component: { hosts }, config })
    const component = await login(server)
    const [romeo, juliet] = await online(server, 'romeo', 'juliet')
    romeo.send(`<message to='${NAME}' type='chat' id='1'><body>let me in</body></message>`)
    assert.equal(errorCondition(await romeo.receive(isError('1'))), 'forbidden')
    await refused('forbidden', romeo.request('get', "<query xmlns='jabber:iq:version'/>", NAME))
    juliet.send(`<message to='${NAME}' type='chat'><body>hello</body></message>`)
    await component.receive(says('hello'))
    // What the component does is no matter of the rule.
    component.send("<message to='romeo@localhost' type='chat'><body>hi</body></message>")
    await romeo.receive(says('hi'))
  })
})

describe('a component that is away', () => {
  test('who asks it something is told so; what nobody misses is dropped', async t => {
    const server = await serve(t, { component: HOSTS })
    const [romeo] = await online(server, 'romeo')
    await refused('remote-server-timeout', romeo.request('get', "<query xmlns='jabber:iq:version'/>", NAME))
    romeo.send(`<presence to='#verona@${NAME}/romeo' id='join'/>`)
    assert.equal(errorCondition(await romeo.receive(isError('join'))), 'remote-server-timeout')
    romeo.send(`<presence to='#verona@${NAME}/romeo' type='unavailable' id='leave'/>`)
    romeo.send(`<message to='${NAME}' type='headline' id='news'><body>news</body></message>`)
    await nothing(romeo, el => el.attrs['id'] === 'leave' || el.attrs['id'] === 'news')
  })

  test('a request that it does not answer any more is answered for it', async t => {
    const server = await serve(t, { component: HOSTS })
    const [romeo] = await online(server, 'romeo')
    const component = await login(server)
    const asked = romeo.request('get', "<query xmlns='jabber:iq:version'/>", NAME)
    await component.receive(el => el.name === 'iq' && el.attrs['type'] === 'get')
    component.cut()
    await refused('remote-server-timeout', asked)
  })
})

describe('a component that logs in once more', () => {
  test('ends the connection that there is', async t => {
    const server = await serve(t, { component: HOSTS })
    const first = await login(server)
    const second = await login(server)
    assert.equal(await first.ended(), 'conflict')
    await second.ping()
  })

  test('or is refused', async t => {
    const server = await serve(t, { component: { hosts: { [NAME]: { password: 'secret', conflict: 'closenew' } } } })
    const first = await login(server)
    const second = await RawComponent.connect({ port: server.componentPort, name: NAME })
    await assert.rejects(second.handshake())
    assert.equal(await second.ended(), 'conflict')
    await first.close()
    await login(server)
  })

  test('or takes its share: the same sender is always the same connection’s', async t => {
    const server = await serve(t, { component: { hosts: { [NAME]: { password: 'secret', conflict: 'balance' } } } })
    const components = [await login(server), await login(server), await login(server)]
    const users = Array.from({ length: 12 }, (_, i) => `user${i}`)
    const clients = await online(server, ...users)
    /** Who gets what each sends; of each, how many of five. */
    const round = async (name: string, among: RawComponent[]) => {
      for (const client of clients) {
        for (let i = 0; i < 5; i++) client.send(`<presence to='${NAME}' id='${name} ${i}'/>`)
        await client.ping()
      }
      const got = new Map<string, RawComponent>()
      for (const component of among) {
        await component.ping()
        for (const { jid } of clients) {
          let count = 0
          while (
            await component
              .receive(el => el.attrs['from'] === jid && el.attrs['id']!.startsWith(name), 1)
              .catch(() => undefined)
          )
            count++
          if (count === 0) continue
          assert.equal(count, 5)
          assert.ok(!got.has(jid))
          got.set(jid, component)
        }
      }
      assert.equal(got.size, clients.length)
      return got
    }
    const before = await round('before', components)
    assert.ok(new Set(before.values()).size > 1, 'all of them came to one connection')
    const [leaver, ...rest] = components
    await leaver!.close()
    const after = await round('after', rest)
    for (const [jid, component] of before) if (component !== leaver) assert.equal(after.get(jid), component)
  })
})

describe('a component that does not read', () => {
  test('costs so much memory and no more, and nobody else waits for it', async t => {
    const server = await serve(t, { component: HOSTS })
    const [romeo, juliet] = await online(server, 'romeo', 'juliet')
    const component = await login(server)
    component.pause()
    const text = 'x'.repeat(100_000)
    let sent = 0
    const asks = (id: string) => `<iq type='get' id='${id}' to='${NAME}'><query xmlns='urn:x'>${text}</query></iq>`
    while ([...server.server.components][0]!.connections.length > 0) {
      romeo.send(asks(`q${sent++}`))
      await romeo.ping()
      assert.ok(sent < 300, 'the server goes on keeping what the component does not read')
    }
    assert.equal(errorCondition(await romeo.receive(isError('q0'))), 'remote-server-timeout')
    juliet.send("<message to='romeo@localhost' type='chat'><body>you there?</body></message>")
    await romeo.receive(says('you there?'))
  })
})

describe('what is said of it', () => {
  const items = async (server: TestServer) => {
    const client = await server.client('asker')
    const answer = await client.request('get', "<query xmlns='http://jabber.org/protocol/disco#items'/>", 'localhost')
    return child(answer, 'query')!.children.map(({ attrs }) => [attrs['jid'], attrs['name']])
  }

  test('it is among the items of its host while it is connected', async t => {
    const server = await serve(t, { component: HOSTS })
    const is = async () => (await items(server)).find(([jid]) => jid === NAME)
    assert.equal(await is(), undefined)
    const component = await login(server)
    assert.deepEqual(await is(), [NAME, 'IRC'])
    await component.close()
    assert.equal(await is(), undefined)
  })

  test('or of the host that the configuration says', async t => {
    const hosts = {
      'gateway.example': { password: 'secret', items_of: ['localhost'] },
      'other.example': { password: 'secret' },
    }
    const server = await serve(t, { component: { hosts } })
    await login(server, { name: 'gateway.example' })
    await login(server, { name: 'other.example' })
    const jids = (await items(server)).map(([jid]) => jid)
    assert.ok(jids.includes('gateway.example'))
    assert.ok(!jids.includes('other.example'))
  })
})

describe('a reload', () => {
  test('adds, changes and removes components, and the others stay connected', async t => {
    const of = (hosts: object) => ({ component: { hosts } })
    const server = await serve(
      t,
      of({
        [NAME]: { password: 'secret' },
        'bot.localhost': { password: 'secret' },
        'old.localhost': { password: 'secret' },
      }),
    )
    const [romeo] = await online(server, 'romeo')
    const component = await login(server)
    const bot = await login(server, { name: 'bot.localhost' })
    const old = await login(server, { name: 'old.localhost' })
    assert.deepEqual(
      await server.reload(
        of({
          [NAME]: { password: 'secret' },
          'bot.localhost': { password: 'another' },
          'new.localhost': { password: 'fresh' },
        }),
      ),
      [],
    )
    assert.equal(await bot.ended(), 'reset')
    assert.equal(await old.ended(), 'host-gone')
    await component.ping()
    await login(server, { name: 'bot.localhost', password: 'another' })
    await login(server, { name: 'new.localhost', password: 'fresh' })
    await refused('remote-server-not-found', romeo.request('get', "<query xmlns='urn:x'/>", 'old.localhost'))
  })

  test('that cannot be is none', async t => {
    const other = testModule('mod_other', ctx => void ctx.domain('taken.localhost', {}))
    const server = await serve(t, { component: HOSTS, extra: [other] })
    const component = await login(server)
    const taken = { hosts: { [NAME]: { password: 'another' }, 'taken.localhost': { password: 'secret' } } }
    await assert.rejects(
      server.reload({ component: taken, extra: [other] }),
      /taken\.localhost is served by another module/,
    )
    await component.ping()
    await login(server)
  })
})
