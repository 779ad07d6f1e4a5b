import assert from 'node:assert/strict'
import { test } from 'node:test'
import { STOP } from '../../../src/core/hooks.ts'
import type { Host } from '../../../src/core/host.ts'
import { Router } from '../../../src/core/router.ts'
import { StanzaError } from '../../../src/xmpp/errors.ts'
import { FakeSession, host, message, silent, stanza } from './support.ts'

/** Two hosts under one router, with romeo online at the first. */
async function two(): Promise<{ router: Router; one: Host; other: Host; romeo: FakeSession }> {
  const router = new Router(silent)
  const one = host({ router })
  const other = host({ router, name: 'example.com' })
  const romeo = new FakeSession((await one.account('romeo'))!, 'orchard', 0)
  return { router, one, other, romeo }
}

const iq = (to: string, type = 'get', payload = "<query xmlns='urn:test'/>") =>
  stanza(`<iq type='${type}' id='q1' from='romeo@example.org/orchard' to='${to}'>${payload}</iq>`)
const conditions = (session: FakeSession) =>
  session.stanzas.map(s => /<error type='\w+'><([\w-]+) /.exec(s.toString())?.[1] ?? s.type)

test('a stanza goes to the host that it is for', async () => {
  const { router, other, romeo } = await two()
  const juliet = new FakeSession((await other.account('juliet'))!, 'balcony', 0)
  await router.route(message('juliet@example.com', 'chat'))
  await router.route(message('romeo@example.org/orchard', 'chat'))
  assert.equal(juliet.stanzas.length, 1)
  assert.equal(romeo.stanzas.length, 1)
  router.remove(other)
  await router.route(message('juliet@example.com', 'chat'))
  assert.deepEqual(conditions(romeo), ['chat', 'remote-server-not-found'])
})

test('other domains go to the gateway that came last; its errors are the sender’s', async () => {
  const { router, romeo } = await two()
  const taken: string[] = []
  router.addGateway(() => {
    throw new StanzaError('internal-server-error')
  })
  router.addGateway(({ to }) => {
    taken.push(to!.toString())
    if (to!.local === 'bad') return Promise.reject(new StanzaError('remote-server-timeout'))
  })
  await router.route(message('a@elsewhere.example', 'chat'))
  await router.route(message('bad@elsewhere.example', 'chat'))
  assert.deepEqual(taken, ['a@elsewhere.example', 'bad@elsewhere.example'])
  assert.deepEqual(conditions(romeo), ['remote-server-timeout'])
})

test('filter_packet may drop a stanza or refuse it, at once or later', async () => {
  const { router, one, romeo } = await two()
  const juliet = new FakeSession((await one.account('juliet'))!, 'balcony', 0)
  for (const later of [false, true]) {
    const undoDrop = one.hooks.add('m', 'filter_packet', ({ stanza }) => {
      if (stanza.type === 'error') return
      return later ? Promise.resolve(STOP) : STOP
    })
    await router.route(message('juliet@example.org', 'chat'))
    undoDrop()
    const undoRefuse = one.hooks.add('m', 'filter_packet', ({ stanza }) => {
      if (stanza.type === 'error') return
      const error = new StanzaError('forbidden')
      if (later) return Promise.reject(error)
      throw error
    })
    await router.route(message('juliet@example.org', 'chat'))
    undoRefuse()
  }
  assert.deepEqual(conditions(romeo), ['forbidden', 'forbidden'])
  assert.equal(juliet.stanzas.length, 0)
})

test('an error comes back with what the message carried, and errors are never answered', async () => {
  const { router, romeo } = await two()
  await router.route(message('nobody@example.org', 'chat', 'lost words'))
  assert.match(
    romeo.stanzas[0]!.toString(),
    /^<message type='error' id='m1' to='romeo@example.org\/orchard' from='nobody@example.org'><body>lost words<\/body><error/,
  )
  await router.route(message('nobody@example.org', 'error'))
  await router.route(iq('nobody@example.org/x', 'result', ''))
  await router.route(iq('nobody@example.org/x', 'error', ''))
  await router.route(stanza("<presence from='romeo@example.org/orchard' to='nobody@example.org'/>"))
  await router.route(stanza("<presence type='probe' from='romeo@example.org/orchard' to='nobody@example.org'/>"))
  assert.equal(romeo.stanzas.length, 1)
})

test('iqs: the server answers for accounts; full addresses that are not there, and nobody, are service-unavailable', async () => {
  const { router, one, romeo } = await two()
  const juliet = new FakeSession((await one.account('juliet'))!, 'balcony', 0)
  for (const to of [
    'juliet@example.org',
    'juliet@example.org/gone',
    'nobody@example.org',
    'nobody@example.org/x',
    'example.org',
    'example.org/x',
  ]) {
    romeo.stanzas.length = 0
    await router.route(iq(to))
    assert.deepEqual(conditions(romeo), ['service-unavailable'], to)
    assert.equal(romeo.stanzas[0]!.from.toString(), to, 'it comes from where it was sent')
  }
  assert.equal(juliet.stanzas.length, 0, 'nothing is forwarded')
  await router.route(iq('juliet@example.org/balcony'))
  assert.deepEqual(conditions(juliet), ['get'])
})

test('nobody but the account itself and its server may push a roster to a client', async () => {
  const { router, one, romeo } = await two()
  const juliet = new FakeSession((await one.account('juliet'))!, 'balcony', 0)
  for (const ns of ['jabber:iq:roster', 'urn:xmpp:blocking']) {
    romeo.stanzas.length = 0
    await router.route(iq('juliet@example.org/balcony', 'set', `<query xmlns='${ns}'/>`))
    assert.deepEqual(conditions(romeo), ['service-unavailable'])
  }
  assert.equal(juliet.stanzas.length, 0)
})

test('a request of the host is answered by whom it asked, or not at all', async () => {
  const { one, romeo } = await two()
  const payload = iq('x@y', 'get').payload!
  const answer = one.request(romeo.jid, 'get', payload, 60_000)
  const asked = romeo.stanzas[0]!
  await one.router.route(stanza(`<iq type='result' id='${asked.id}' from='juliet@example.org/x' to='example.org'/>`))
  await one.router.route(stanza(`<iq type='result' id='${asked.id}' from='${romeo.jid}' to='example.org'/>`))
  assert.equal((await answer)?.from.toString(), romeo.jid.toString())
  assert.equal(await one.request(romeo.jid, 'get', payload, 1), undefined)
})
