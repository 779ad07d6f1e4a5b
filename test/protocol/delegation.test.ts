/** XEP-0355: what users ask of the server is answered by a component, by namespace. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { RawComponent } from '../support/rawcomponent.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { online, refused, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const NAME = 'games.localhost'
const NS = 'urn:xmpp:delegation:2'
const GAME = 'urn:example:game'
const INFO = 'http://jabber.org/protocol/disco#info'
const ITEMS = 'http://jabber.org/protocol/disco#items'
const hosts = { [NAME]: { password: 'secret' }, 'other.localhost': { password: 'secret' } }

const delegating = (namespaces: object) => ({
  component: { hosts },
  modules: { mod_delegation: { namespaces } },
})
const login = (server: TestServer, name = NAME) => RawComponent.login({ port: server.componentPort, name })
const ask = `<move xmlns='${GAME}' node='chess'/>`

async function table(t: TestContext, namespaces: object = { [GAME]: { to: NAME } }) {
  const server = await serve(t, delegating(namespaces))
  const games = await login(server)
  const [romeo, juliet] = await online(server, 'romeo', 'juliet')
  return { server, games, romeo, juliet }
}

const forwarded = (el: XmlElement) =>
  child(child(child(el, 'delegation', NS), 'forwarded', 'urn:xmpp:forward:0'), 'iq', 'jabber:client')
/** The next request that the component is to answer. */
const next = (games: RawComponent) => games.receive(el => el.name === 'iq' && forwarded(el) !== undefined)

interface Reply {
  id?: string
  to?: string
  type?: string
  from?: string
  payload?: string
  ns?: string
}
function reply(games: RawComponent, request: XmlElement, changes: Reply = {}): void {
  const { id, from } = forwarded(request)!.attrs
  const attrs = { id, to: from, type: 'result', ...changes }
  const text = Object.entries(attrs)
    .filter(([name]) => !['payload', 'ns'].includes(name))
    .map(([name, value]) => ` ${name}='${value}'`)
    .join('')
  const iq = `<iq xmlns='${changes.ns ?? 'jabber:client'}'${text}>${changes.payload ?? `<moved xmlns='${GAME}'/>`}</iq>`
  games.send(
    `<iq type='result' id='${request.attrs['id']}' to='localhost'><delegation xmlns='${NS}'><forwarded xmlns='urn:xmpp:forward:0'>${iq}</forwarded></delegation></iq>`,
  )
}

describe('a namespace that is delegated', () => {
  test('is told to the component when it logs in, with its filters', async t => {
    const server = await serve(
      t,
      delegating({
        [GAME]: { to: NAME, filtering: ['node'] },
        'urn:b': { to: NAME },
        'urn:c': { to: 'other.localhost' },
      }),
    )
    const games = await login(server)
    const message = await games.receive(el => el.name === 'message')
    assert.equal(message.attrs['from'], 'localhost')
    const told = child(message, 'delegation', NS)!.children.map(({ attrs, children }) => [
      attrs['namespace'],
      children.map(({ attrs: { name } }) => name),
    ])
    assert.deepEqual(told, [
      [GAME, ['node']],
      ['urn:b', []],
    ])
  })

  test('is answered by the component: at the host, at the own account, at that of another', async t => {
    const { games, romeo, juliet } = await table(t)
    for (const [asker, to] of [
      [romeo, undefined],
      [romeo, 'localhost'],
      [romeo, 'romeo@localhost'],
      [juliet, 'romeo@localhost'],
    ] as const) {
      const answer = asker.request('get', ask, to)
      const request = await next(games)
      assert.deepEqual([request.attrs['type'], request.attrs['from'], request.attrs['to']], ['set', 'localhost', NAME])
      const { attrs, children } = forwarded(request)!
      assert.deepEqual([attrs['type'], attrs['from'], attrs['to']], ['get', asker.jid, to])
      assert.equal(children[0]!.attrs['node'], 'chess')
      reply(games, request)
      assert.equal(child(await answer, 'moved', GAME)?.name, 'moved')
    }
    const empty = romeo.request('set', ask)
    reply(games, await next(games), { payload: ' ' })
    assert.equal((await empty).children.length, 0)
  })

  test('the client is not kept waiting for it', async t => {
    const { games, romeo } = await table(t)
    const answer = romeo.request('get', ask)
    const request = await next(games)
    await romeo.ping()
    reply(games, request)
    await answer
  })

  test('so many at a time; who asks more waits', async t => {
    const { games, romeo } = await table(t)
    for (let i = 0; i < 25; i++) romeo.send(`<iq type='get' id='m${i}'>${ask}</iq>`)
    const requests: XmlElement[] = []
    for (let i = 0; i < 21; i++) requests.push(await next(games))
    await games.ping()
    await assert.rejects(games.receive(el => forwarded(el) !== undefined, 1))
    reply(games, requests[20]!)
    requests.push(await next(games))
    for (const request of requests) if (request !== requests[20]) reply(games, request)
    for (let i = 22; i < 25; i++) reply(games, await next(games))
    for (let i = 0; i < 25; i++) await romeo.receive(el => el.attrs['id'] === `m${i}` && el.attrs['type'] === 'result')
  })

  test('an answer that is none to what was asked, or an error, is not passed on', async t => {
    const { games, romeo, juliet } = await table(t)
    const wrong: Reply[] = [
      { id: 'other' },
      { to: juliet.jid },
      { to: 'romeo@localhost' },
      { type: 'error' },
      { type: 'set' },
      { from: 'juliet@localhost' },
      { payload: `<a xmlns='${GAME}'/><b xmlns='${GAME}'/>` },
      { ns: 'jabber:server' },
    ]
    for (const changes of wrong) {
      const answer = romeo.request('get', ask)
      answer.catch(() => {})
      reply(games, await next(games), changes)
      await refused('service-unavailable', answer)
    }
    const answer = romeo.request('get', ask)
    answer.catch(() => {})
    const { id } = (await next(games)).attrs
    games.send(
      `<iq type='error' id='${id}' to='localhost'><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`,
    )
    await refused('service-unavailable', answer)
  })

  test('is answered by the component alone: another’s word counts for nothing', async t => {
    const { server, games, romeo } = await table(t)
    const other = await login(server, 'other.localhost')
    const answer = romeo.request('get', ask)
    const request = await next(games)
    reply(other, request)
    await other.ping()
    reply(games, request, { payload: `<moved xmlns='${GAME}' by='games'/>` })
    assert.equal(child(await answer, 'moved')?.attrs['by'], 'games')
  })

  test('is answered by nobody while the component is away', async t => {
    const { games, romeo } = await table(t)
    const answer = romeo.request('get', ask)
    await next(games)
    answer.catch(() => {})
    games.cut()
    await refused('service-unavailable', answer)
    await refused('service-unavailable', romeo.request('get', ask))
  })

  test('with a filter: what has not the attribute is answered here', async t => {
    const { games, romeo } = await table(t, { 'jabber:iq:version': { to: NAME, filtering: ['node'] } })
    await romeo.request('get', "<query xmlns='jabber:iq:version'/>", 'localhost')
    const answer = romeo.request('get', "<query xmlns='jabber:iq:version' node='x'/>", 'localhost')
    reply(games, await next(games))
    await answer
  })

  test('what the component itself asks is answered here', async t => {
    const { games } = await table(t, { 'jabber:iq:version': { to: NAME } })
    assert.ok(child(await games.request('get', "<query xmlns='jabber:iq:version'/>", 'localhost'), 'query'))
  })

  test('comes back with another configuration, and cannot be delegation itself', async t => {
    const { server, romeo } = await table(t, { 'jabber:iq:version': { to: NAME } })
    await server.reload({ component: { hosts } })
    await romeo.request('get', "<query xmlns='jabber:iq:version'/>", 'localhost')
    await assert.rejects(serve(t, delegating({ [NS]: { to: NAME } })), /cannot be delegated/)
  })
})

describe('discovery', () => {
  const describes = async (games: RawComponent, features: string[], more = '') => {
    for (const kind of ['::', ':bare:']) {
      const node = `${NS}${kind}http://jabber.org/protocol/pubsub`
      const asked = await games.receive(el => child(el, 'query', INFO)?.attrs['node'] === node)
      const list = features.map(feature => `<feature var='${feature}'/>`).join('')
      games.send(
        `<iq type='result' id='${asked.attrs['id']}' to='localhost'><query xmlns='${INFO}' node='${node}'>${list}${more}</query></iq>`,
      )
    }
  }
  const features = async (client: { request: RawComponent['request'] }, to: string) => {
    const answer = await client.request('get', `<query xmlns='${INFO}'/>`, to)
    return child(answer, 'query')!.children.flatMap(({ name, attrs }) => (name === 'feature' ? attrs['var']! : []))
  }

  test('of the host and of accounts says what the component can do, in place of the server', async t => {
    const PUBSUB = 'http://jabber.org/protocol/pubsub'
    const { games, romeo } = await table(t, { [PUBSUB]: { to: NAME } })
    const mine = { request: (type: 'get' | 'set', payload: string, to: string) => romeo.request(type, payload, to) }
    assert.ok((await features(mine, 'localhost')).includes(NS))
    assert.ok((await features(mine, 'localhost')).includes(`${PUBSUB}#auto-create`))
    await describes(games, [PUBSUB, `${PUBSUB}#special`], "<identity category='pubsub' type='games'/>")
    for (const to of ['localhost', 'romeo@localhost']) {
      const all = await eventually(async () => {
        const found = await features(mine, to)
        return found.includes(`${PUBSUB}#special`) ? found : undefined
      })
      assert.ok(!all.includes(`${PUBSUB}#auto-create`))
      assert.ok(all.includes(INFO))
    }
    games.cut()
    await eventually(async () => (await features(mine, 'localhost')).includes(`${PUBSUB}#auto-create`))
  })

  test('of nodes that nobody knows, and of items, at bare addresses', async t => {
    const { games, romeo } = await table(t, {
      [`${NS}:bare:disco#info:*`]: { to: NAME },
      [`${NS}:bare:disco#items:*`]: { to: NAME },
    })
    const info = romeo.request('get', `<query xmlns='${INFO}' node='urn:x'/>`, 'romeo@localhost')
    const asked = await next(games)
    assert.equal(forwarded(asked)!.attrs['to'], 'romeo@localhost')
    reply(games, asked, { payload: `<query xmlns='${INFO}' node='urn:x'><feature var='urn:theirs'/></query>` })
    assert.equal(child(await info, 'query')!.children[0]!.attrs['var'], 'urn:theirs')
    const items = romeo.request('get', `<query xmlns='${ITEMS}'/>`, 'romeo@localhost')
    reply(games, await next(games), {
      payload: `<query xmlns='${ITEMS}'><item jid='romeo@localhost' node='urn:blog'/></query>`,
    })
    assert.deepEqual(
      child(await items, 'query')!.children.map(({ attrs }) => attrs['node']),
      ['urn:blog'],
    )
    assert.ok(await romeo.request('get', `<query xmlns='${INFO}'/>`, 'romeo@localhost'))
  })
})
