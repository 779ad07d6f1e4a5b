import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pluck } from '../support/pluck.ts'
import { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import {
  agent,
  answer,
  authenticate,
  base64,
  bind,
  bindingOf,
  byPassword,
  dial,
  FAST,
  HASHES,
  offered,
  offerHash,
  outcome,
  people,
  plain,
  SASL2,
  scram,
} from '../support/sasl2client.ts'
import { closed } from '../support/talk.ts'
import { Wire } from '../support/wire.ts'

test('it is offered under TLS beside SASL, with the same mechanisms and what can be had inline', async t => {
  const server = await people(t)
  const bare = await RawClient.connect({ port: server.port, domain: 'localhost' })
  t.after(() => bare.cut())
  assert.equal(child(bare.features, 'authentication'), undefined)
  const client = await dial(t, server)
  assert.deepEqual(offered(client), [...HASHES.map(h => `${h}-PLUS`), ...HASHES, 'PLAIN'])
  assert.deepEqual(pluck(child(client.features, 'mechanisms')!.children, 'text'), offered(client))
  const inline = child(child(client.features, 'authentication'), 'inline', SASL2)!
  assert.deepEqual(
    inline.children.map(c => [c.name, c.ns]),
    [
      ['sm', 'urn:xmpp:sm:3'],
      ['bind', 'urn:xmpp:bind:0'],
      ['fast', FAST],
    ],
  )
  const fast = child(inline, 'fast', FAST)!
  assert.equal(fast.attrs['tls-0rtt'], undefined)
  assert.deepEqual(pluck(fast.children, 'text'), ['HT-SHA-256-EXPR', 'HT-SHA-256-ENDP', 'HT-SHA-256-NONE'])
  const features = child(child(inline, 'bind'), 'inline')!.children.map(c => c.attrs['var'])
  for (const ns of ['urn:xmpp:sm:3', 'urn:xmpp:carbons:2', 'urn:xmpp:csi:0']) assert.ok(features.includes(ns), ns)
})

test('without TLS nobody logs in by it', async t => {
  const server = await people(t)
  const client = await RawClient.connect({ port: server.port, domain: 'localhost' })
  t.after(() => client.cut())
  client.write(authenticate('SCRAM-SHA-256', base64('n,,n=juliet,r=abc')))
  assert.equal(outcome(await answer(client)), 'encryption-required')
})

test('a login, after which the stream goes on without a restart: new features, then a resource', async t => {
  const server = await people(t)
  const client = await dial(t, server, 'juliet')
  client.write(authenticate('PLAIN', plain('juliet'), agent()))
  const success = await answer(client)
  assert.equal(success.name, 'success')
  assert.equal(child(success, 'authorization-identifier')?.text, 'juliet@localhost')
  assert.equal(child(success, 'additional-data'), undefined)
  const features = await client.receive(el => el.name === 'features')
  const names = features.children.map(c => c.name)
  for (const name of ['bind', 'sm', 'limits']) assert.ok(names.includes(name), name)
  assert.ok(!names.includes('authentication') && !names.includes('mechanisms'))
  assert.equal(await client.bind('balcony'), 'juliet@localhost/balcony')
  await client.ping()
})

test('everything in one round trip: header and login in one flight, and the answer is all there is to know', async t => {
  const server = await people(t)
  const wire = await Wire.connect(server.port)
  t.after(() => wire.cut())
  const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' from='juliet@localhost' version='1.0'>`
  wire.write(header.replace(" from='juliet@localhost'", ''))
  const cold = await wire.until(/<\/stream:features>/)
  assert.ok(!/<stream:stream [^>]* to=/.test(cold))
  wire.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
  await wire.until(/<proceed[^>]*>/)
  await wire.encrypt()
  const inline = `${agent()}${bind("<enable xmlns='urn:xmpp:sm:3' resume='true'/><enable xmlns='urn:xmpp:carbons:2'/>")}`
  wire.write(`${header}${authenticate('PLAIN', plain('juliet'), inline)}<presence/>`)
  await wire.until(/<stream:stream [^>]*from='localhost' to='juliet@localhost'/) // RFC 6120 4.7.2
  await wire.until(
    /<success xmlns='urn:xmpp:sasl:2'>.*<bound xmlns='urn:xmpp:bind:0'>.*<enabled .*<\/bound><\/success>/,
  )
  await wire.until(/<\/stream:features>/)
  await wire.until(/<presence /)
})

test('SCRAM, with its channel bindings, its proof of the server, and the seal on the offer', async t => {
  const server = await people(t)
  for (const mechanism of HASHES) {
    const client = await dial(t, server, 'juliet')
    const { result, verified, challenge } = await scram(client, mechanism)
    assert.deepEqual('success' in result && result.success.user, 'juliet@localhost', mechanism)
    assert.equal(verified, true, mechanism)
    const hash = mechanism.slice('SCRAM-'.length).replace('-', '').toLowerCase()
    assert.equal(/,h=(.+)$/.exec(challenge!)?.[1], offerHash(client, hash), 'XEP-0474')
    for (const type of ['tls-exporter', 'tls-server-end-point']) {
      const bound = await dial(t, server)
      const options = { gs2: `p=${type},,`, binding: bindingOf(bound, type) }
      assert.equal((await scram(bound, `${mechanism}-PLUS`, options)).verified, true)
      const relayed = await dial(t, server)
      const wrong = await scram(relayed, `${mechanism}-PLUS`, { ...options, binding: Buffer.alloc(32, 7) })
      assert.deepEqual(wrong.result, { failure: 'not-authorized' })
    }
  }
})

test('a client that was shown no binding, though there is one, is not let in', async t => {
  const server = await people(t)
  const { result } = await scram(await dial(t, server), 'SCRAM-SHA-256', { gs2: 'y,,' })
  assert.deepEqual(result, { failure: 'not-authorized' })
})

test('what is no login, by name; and the stream goes on', async t => {
  const server = await people(t)
  const client = await dial(t, server)
  for (const [sent, expected] of [
    [authenticate('NONE', undefined), 'invalid-mechanism'],
    [authenticate('HT-SHA-256-NONE', base64('juliet\0x'), agent()), 'invalid-mechanism'],
    [`<authenticate xmlns='${SASL2}'/>`, 'invalid-mechanism'],
    [authenticate('PLAIN', '%%%'), 'incorrect-encoding'],
    [authenticate('PLAIN', '='), 'incorrect-encoding'],
    [authenticate('PLAIN', plain('juliet'), "<user-agent id='me'/>"), 'malformed-request'],
    [authenticate('PLAIN', plain('juliet'), `<fast xmlns='${FAST}' count='-1'/>`), 'malformed-request'],
    [authenticate('PLAIN', ''), 'malformed-request'],
    [`${authenticate('PLAIN', undefined)}<abort xmlns='${SASL2}'><text>no</text></abort>`, 'challenge'],
  ] as const) {
    client.write(sent)
    assert.equal(outcome(await answer(client)), expected, sent)
  }
  assert.equal(outcome(await answer(client)), 'aborted')
  client.write(authenticate('PLAIN', undefined))
  assert.equal(outcome(await answer(client)), 'challenge')
  client.write(`<response xmlns='${SASL2}'>${plain('juliet')}</response>`)
  assert.equal(outcome(await answer(client)), 'success')
})

test('the failure has its condition in the namespace of SASL, and nothing that was asked for is done', async t => {
  const server = await people(t)
  const client = await dial(t, server)
  client.write(authenticate('PLAIN', plain('juliet', 'wrong'), `${agent()}${bind()}`))
  const failure = await answer(client)
  assert.deepEqual(
    failure.children.map(c => [c.name, c.ns]),
    [['not-authorized', 'urn:ietf:params:xml:ns:xmpp-sasl']],
  )
  assert.equal(server.server.sessionCount, 0)
  assert.deepEqual(await server.server.host('localhost')!.services.use('devices')!.list('juliet'), [])
})

test('while a login goes on nothing else may come', async t => {
  const server = await people(t)
  for (const intruder of [
    "<message to='romeo@localhost'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
    "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>",
    authenticate('PLAIN', plain('romeo')),
    `<next xmlns='${SASL2}' task='UPGR-SCRAM-SHA-256'/>`,
  ]) {
    const client = await dial(t, server)
    const gone = closed(client)
    client.write(`${authenticate('PLAIN', undefined)}${intruder}`)
    assert.match(await gone, /not-authorized/, intruder)
  }
  for (const stray of [`<response xmlns='${SASL2}'/>`, `<task-data xmlns='${SASL2}'/>`]) {
    const client = await dial(t, server)
    const gone = closed(client)
    client.write(stray)
    assert.match(await gone, /not-authorized/, stray)
  }
})

test('a second login on one stream ends it', async t => {
  const server = await people(t)
  for (const inner of ['', bind()]) {
    const client = await dial(t, server)
    await byPassword(client, 'juliet', inner)
    const gone = closed(client)
    client.write(authenticate('PLAIN', plain('romeo')))
    assert.match(await gone, /not-authorized|unsupported-stanza-type/)
  }
})

test('who a stream says that it is from, it is from', async t => {
  const server = await people(t)
  const client = await dial(t, server, 'romeo')
  client.write(authenticate('PLAIN', plain('juliet'), bind()))
  assert.equal(outcome(await answer(client)), 'invalid-authzid')
  assert.equal(server.server.sessionCount, 0)
  client.write(authenticate('PLAIN', plain('romeo'), bind()))
  assert.equal(outcome(await answer(client)), 'success')
  await assert.rejects(dial(t, server, 'juliet@example.org'), /invalid-from/)
  for (const authzid of ['romeo@localhost', 'juliet@localhost/x', 'juliet@example.org']) {
    const other = await dial(t, server)
    other.write(authenticate('PLAIN', plain('juliet', 'secret', authzid)))
    assert.equal(outcome(await answer(other)), 'invalid-authzid', authzid)
  }
})

test('failures count as those of SASL do, together with them', async t => {
  const server = await people(t)
  const client = await dial(t, server)
  const gone = closed(client)
  for (let i = 0; i < 5; i++) {
    if (i % 2 === 0) {
      client.write(authenticate('PLAIN', plain('juliet', 'wrong')))
      assert.equal(outcome(await answer(client)), 'not-authorized')
    } else {
      client.write(
        `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain('juliet', 'wrong')}</auth>`,
      )
      await client.receive(el => el.name === 'failure')
    }
  }
  assert.match(await gone, /policy-violation/)
})

test('too many failures from an address: it has to wait, whatever it tries', async t => {
  const server = await people(t, { config: { max_failures_per_account: 2 } })
  for (let i = 0; i < 2; i++) {
    const client = await dial(t, server)
    client.write(authenticate('PLAIN', plain('juliet', 'wrong')))
    assert.equal(outcome(await answer(client)), 'not-authorized')
  }
  const client = await dial(t, server)
  client.write(authenticate('PLAIN', plain('juliet'), bind()))
  const failure = await answer(client)
  assert.equal(outcome(failure), 'temporary-auth-failure')
  assert.match(child(failure, 'text')!.text, /wait \d+ s/)
  assert.equal(server.server.sessionCount, 0)
})

test('an account that is disabled is told so, when it has shown its password', async t => {
  const server = await people(t)
  await server.server.host('localhost')!.users.disable('juliet')
  const client = await dial(t, server, 'juliet')
  client.write(authenticate('PLAIN', plain('juliet'), bind()))
  assert.equal(outcome(await answer(client)), 'account-disabled')
  client.write(authenticate('PLAIN', plain('juliet', 'wrong')))
  assert.equal(outcome(await answer(client)), 'not-authorized')
})
