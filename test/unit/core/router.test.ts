import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAway } from '../../../src/core/directory.ts'
import { Domain } from '../../../src/core/domains.ts'
import { OBSERVE, STOP } from '../../../src/core/hooks.ts'
import type { Host } from '../../../src/core/host.ts'
import { type Destination, Router, type Source } from '../../../src/core/router.ts'
import { StanzaError } from '../../../src/xmpp/errors.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import { pluck } from '../../support/pluck.ts'
import { settled } from '../../support/waiting.ts'
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
  router.removeHost(other)
  await router.route(message('juliet@example.com', 'chat'))
  assert.deepEqual(conditions(romeo), ['chat', 'remote-server-not-found'])
})

/** A destination on another server, and what it is given; it refuses what is for `bad`, later. */
function remote(name: string): Destination & { taken: string[] } {
  const taken: string[] = []
  return {
    name,
    filter: undefined,
    taken,
    async deliver({ to }) {
      taken.push(to!.toString())
      await settled(1)
      if (to!.local === 'bad') throw new StanzaError('remote-server-timeout')
    },
  }
}

test('what is elsewhere has destinations of its own; the rest goes to one for all; errors are the sender’s', async () => {
  const { router, romeo } = await two()
  const [far, others] = [remote('far.example'), remote('')]
  router.add(far)
  assert.throws(() => router.add(remote('far.example')), /already/)
  assert.throws(() => router.add(remote('example.org')), /virtual host/)
  await router.route(message('a@elsewhere.example', 'chat'))
  assert.deepEqual(conditions(romeo), ['remote-server-not-found'])
  router.fallback = others
  for (const to of ['a@elsewhere.example', 'a@far.example', 'bad@far.example']) await router.route(message(to, 'chat'))
  router.remove(remote('far.example')) // which is another one
  await router.route(message('b@far.example', 'chat'))
  router.remove(far)
  await router.route(message('c@far.example', 'chat'))
  assert.deepEqual(far.taken, ['a@far.example', 'bad@far.example', 'b@far.example'])
  assert.deepEqual(others.taken, ['a@elsewhere.example', 'c@far.example'])
  assert.deepEqual(conditions(romeo), ['remote-server-not-found', 'remote-server-timeout'])
})

test('each host sees once what leaves it and what comes to it, its own domains included; out before in', async () => {
  const { router, one, other } = await two()
  router.add(remote('far.example'))
  router.add(new Domain('mod_test', 'rooms.example.org', one, {}))
  for (const later of [false, true]) {
    const seen: string[] = []
    const undo = [one, other].flatMap(at => [
      at.hooks.add('last', 'filter_packet', () => void seen.push(`${at.name} last`), { order: OBSERVE }),
      at.hooks.add('first', 'filter_packet', () => {
        seen.push(at.name)
        return later ? settled(1) : undefined
      }),
    ])
    const sees = async (from: string, to: string): Promise<string[]> => {
      seen.length = 0
      await router.route(message(to, 'headline', 'hi', from))
      return seen.splice(0)
    }
    const once = (name: string) => [name, `${name} last`]
    assert.deepEqual(await sees('romeo@example.org/o', 'juliet@example.org'), once('example.org'))
    assert.deepEqual(await sees('romeo@example.org/o', 'x@rooms.example.org'), once('example.org'))
    assert.deepEqual(await sees('x@rooms.example.org/y', 'romeo@example.org'), once('example.org'))
    assert.deepEqual(await sees('romeo@example.org/o', 'x@far.example'), once('example.org'))
    assert.deepEqual(await sees('x@far.example/y', 'juliet@example.com'), once('example.com'))
    assert.deepEqual(await sees('x@far.example/y', 'y@far.example'), [])
    assert.deepEqual(await sees('romeo@example.org/o', 'juliet@example.com'), [
      ...once('example.org'),
      ...once('example.com'),
    ])
    for (const take of undo) take()
  }
})

test('what a host does not let out goes nowhere, and its sender is told where it was refused', async () => {
  const { router, one, other, romeo } = await two()
  const far = remote('far.example')
  router.add(far)
  other.hooks.add('m', 'filter_packet', () => assert.fail('it does not come so far'))
  one.hooks.add('m', 'filter_packet', async ({ stanza }) => {
    if (stanza.to!.domain === one.name) return
    await settled(1)
    if (stanza.kind === 'presence') return STOP
    throw new StanzaError('policy-violation')
  })
  for (const domain of ['far.example', 'example.com']) {
    await router.route(message(`x@${domain}`, 'chat'))
    await router.route(stanza(`<presence from='romeo@example.org/orchard' to='x@${domain}'/>`))
  }
  assert.deepEqual(far.taken, [])
  assert.deepEqual(conditions(romeo), ['policy-violation', 'policy-violation'])
})

test('a client is an address to other hosts and servers, and who is hidden at its own is so at all', async () => {
  const { router, one, other, romeo } = await two()
  const sources: Source[] = []
  const far: Destination = { ...remote('far.example'), deliver: (_, source) => void sources.push(source) }
  router.add(far)
  router.add(new Domain('mod_test', 'rooms.example.org', one, { packet: far.deliver }))
  router.add(new Domain('mod_test', 'rooms.example.com', other, { packet: far.deliver }))
  for (const domain of ['far.example', 'rooms.example.org', 'rooms.example.com']) {
    await router.route(message(`x@${domain}`, 'chat'), { session: romeo })
  }
  assert.deepEqual(pluck(sources, 'session'), [undefined, romeo, undefined])
  one.hooks.add('m', 'filter_packet', event => {
    event.hidden = true
  })
  await router.route(message('x@rooms.example.com', 'chat'))
  assert.equal(sources[3]?.hidden, true)
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

test('presence that tells something is for clients: no account is loaded for it; a probe is for the account', async () => {
  const { router, one, romeo } = await two()
  const asked: string[] = []
  one.hooks.add('m', 'presence_in', ({ account, stanza }) => void asked.push(`${stanza.type} ${account.user}`))
  const presence = (to: string, type = '') => stanza(`<presence from='x@far.example/y' to='${to}' ${type}/>`)
  for (const type of ['', "type='unavailable'"]) {
    assert.equal(router.route(presence('juliet@example.org', type)), undefined)
    await router.route(presence('juliet@example.org/gone', type))
    await router.route(presence('romeo@example.org', type))
    await router.route(presence('romeo@example.org/orchard', type))
  }
  await router.route(presence('romeo@example.org'), { except: client => client.equals(romeo.jid) })
  assert.deepEqual(conditions(romeo), ['available', 'available', 'unavailable', 'unavailable'])
  assert.equal(one.accounts.get('juliet'), undefined)
  const away = (to: string) => isAway(router, Jid.from(to))
  assert.deepEqual(['juliet@example.org', 'romeo@example.org', 'x@rooms.example.org', 'x@far.example'].map(away), [
    true,
    false,
    false,
    false,
  ])
  await router.route(presence('juliet@example.org', "type='probe'"))
  assert.deepEqual(asked, ['probe juliet'])
  romeo.presence = undefined
  assert.equal(away('romeo@example.org'), true)
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
  const answer = one.requests.ask(one.jid, romeo.jid, 'get', payload, 60_000)
  const asked = romeo.stanzas[0]!
  await one.router.route(stanza(`<iq type='result' id='${asked.id}' from='juliet@example.org/x' to='example.org'/>`))
  await one.router.route(stanza(`<iq type='result' id='${asked.id}' from='${romeo.jid}' to='example.org'/>`))
  assert.equal((await answer)?.from.toString(), romeo.jid.toString())
  assert.equal(await one.requests.ask(one.jid, romeo.jid, 'get', payload, 1), undefined)
})
