import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { xml } from '../../src/xml/index.ts'
import { faultyStore } from '../support/faultystore.ts'
import { pluck } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { detached, isSm, NS } from '../support/resuming.ts'
import {
  agent,
  BIND2,
  bind,
  byPassword,
  chat,
  DESK,
  dial,
  enable,
  juliet,
  PHONE,
  people,
  resources,
  slowBind,
} from '../support/sasl2client.ts'
import { available, closed, copyOf, nothing, presenceFrom, says } from '../support/talk.ts'
import { testModule } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

test('a resource that carries the client’s tag, is the same for the device each time, and cannot be guessed', async t => {
  const server = await people(t)
  const one = await juliet(t, server)
  assert.match(one.client.jid, /^juliet@localhost\/Talkative\/[\w-]{20}$/)
  assert.ok(!one.client.jid.includes(PHONE.slice(0, 8)))
  const features = await one.client.receive(el => el.name === 'features')
  assert.ok(!features.children.some(c => c.name === 'bind' || c.name === 'session'))
  assert.ok(child(features, 'sm', NS))
  await one.client.ping()
  const again = await juliet(t, server)
  assert.equal(again.client.jid, one.client.jid)
  const desk = await juliet(t, server, '', agent(DESK))
  assert.notEqual(desk.client.jid, one.client.jid)
  const renamed = await juliet(t, server, '', agent(), 'Other')
  assert.match(renamed.client.jid, /\/Other\//)
  assert.notEqual(renamed.client.jid.slice(-20), one.client.jid.slice(-20))
  const other = await dial(t, server, 'romeo')
  await byPassword(other, 'romeo', `${agent()}${bind()}`)
  assert.notEqual(other.jid.slice(-20), one.client.jid.slice(-20))
})

test('without a user-agent, or with a tag that cannot be in an address, there is a resource all the same', async t => {
  const server = await people(t)
  const one = await juliet(t, server, '', '')
  const two = await juliet(t, server, '', '')
  assert.match(one.client.jid, /^juliet@localhost\/Talkative\/[0-9a-f]{32}$/)
  assert.notEqual(one.client.jid, two.client.jid)
  const long = await juliet(t, server, '', agent(), 'x'.repeat(1020))
  assert.match(long.client.jid, /^juliet@localhost\/[\w-]{20}$/)
  const none = await juliet(t, server, '', agent(DESK), '')
  assert.match(none.client.jid, /^juliet@localhost\/[\w-]{20}$/)
  const odd = await juliet(t, server, '', agent(DESK), 'a/b &amp; Cafe\u0301')
  assert.match(odd.client.jid, /^juliet@localhost\/a\/b & Café\/[\w-]{20}$/)
})

test('the device’s earlier session ends, and what it had not acknowledged goes to the new one', async t => {
  const server = await people(t)
  const old = await juliet(t, server, enable)
  old.client.options.autoAck = false
  await available(old.client)
  const desk = await juliet(t, server, '', agent(DESK))
  const romeo = await server.client('romeo')
  chat(romeo, old.client.jid, 'hi')
  await old.client.receive(says('hi'))
  const gone = closed(old.client)
  const late = await juliet(t, server, enable, agent(), 'Renamed')
  assert.match(await gone, /conflict/)
  assert.equal(resources(server).length, 2)
  await available(late.client)
  await late.client.receive(says('hi'))
  await desk.client.ping()
})

test('a resource that somebody has by the old way of binding goes by resource_conflict', async t => {
  for (const [policy, stays] of [
    ['closeold', false],
    ['acceptnew', false],
    ['closenew', true],
    ['setresource', true],
  ] as const) {
    const server = await people(t, { config: { resource_conflict: policy } })
    const first = await juliet(t, server)
    await first.client.close()
    const squatter = await server.client('juliet', { resource: first.client.jid.slice('juliet@localhost/'.length) })
    assert.equal(squatter.jid, first.client.jid)
    const gone = closed(squatter)
    const again = await juliet(t, server)
    if (stays) {
      assert.match(again.client.jid, /\/Talkative\/[0-9a-f]{32}$/)
      await squatter.ping()
    } else {
      assert.equal(again.client.jid, first.client.jid)
      assert.match(await gone, /conflict/)
    }
    await again.client.ping()
  }
})

test('one session more than an account may have ends the oldest', async t => {
  const server = await people(t, { config: { max_user_sessions: 2 } })
  const first = await juliet(t, server, '', '')
  const second = await juliet(t, server, '', '')
  const gone = closed(first.client)
  await juliet(t, server, '', '')
  assert.match(await gone, /conflict/)
  await second.client.ping()
  assert.equal(resources(server).length, 2)
})

test('carbons are on from the first moment', async t => {
  const server = await people(t)
  const desk = await juliet(t, server, '', agent(DESK))
  await available(desk.client)
  const phone = await juliet(t, server, "<enable xmlns='urn:xmpp:carbons:2'/>")
  await available(phone.client)
  const without = await juliet(t, server, '', '')
  await available(without.client)
  const romeo = await server.client('romeo')
  chat(romeo, desk.client.jid, 'hi')
  await phone.client.receive(copyOf('received', 'hi'))
  await nothing(without.client, copyOf('received', 'hi'), romeo)
})

test('a client may begin inactive', async t => {
  const server = await people(t)
  const desk = await juliet(t, server, '', agent(DESK))
  const phone = await juliet(t, server, "<inactive xmlns='urn:xmpp:csi:0'/>")
  const active = await juliet(t, server, "<active xmlns='urn:xmpp:csi:0'/>", '')
  phone.client.send('<presence/>')
  active.client.send('<presence/>')
  await phone.client.ping()
  await active.client.ping()
  const desksOf = async (client: RawClient): Promise<(string | undefined)[]> => {
    const shows: (string | undefined)[] = []
    while (shows.at(-1) !== 'dnd') shows.push(child(await client.receive(presenceFrom(desk.client.jid)), 'show')?.text)
    return shows
  }
  desk.client.send('<presence><show>away</show></presence>')
  desk.client.send('<presence><show>dnd</show></presence>')
  assert.deepEqual(await desksOf(active.client), ['away', 'dnd'])
  phone.client.write("<active xmlns='urn:xmpp:csi:0'/>")
  assert.deepEqual(await desksOf(phone.client), ['dnd'], 'presence waited, and the later took the place of the earlier')
})

test('stream management begins with the session: both count from there, and it can be resumed', async t => {
  const server = await people(t)
  const { client, bound } = await juliet(t, server, enable)
  const enabled = child(bound, 'enabled', NS)!
  assert.equal(enabled.attrs['resume'], 'true')
  assert.equal(enabled.attrs['max'], '300')
  const features = await client.receive(el => el.name === 'features')
  assert.equal(child(features, 'sm', NS), undefined, 'what is on is not offered')
  client.send("<message to='romeo@localhost' type='chat' id='a'><body>a</body></message>")
  client.askAck()
  assert.equal((await client.receive(isSm('a'))).attrs['h'], '1')
  await available(client)
  const romeo = await server.client('romeo')
  chat(romeo, client.jid, '1')
  await client.receive(says('1'))
  client.cut()
  await detached(server, client.jid)
  const again = await dial(t, server)
  await again.login({ user: 'juliet', password: 'secret' })
  assert.equal(await again.resume(client.sm!), true)
})

test('enabled without resume: acknowledgements, and no resumption', async t => {
  const server = await people(t)
  const { client, bound } = await juliet(t, server, `<enable xmlns='${NS}'/>`)
  assert.deepEqual(child(bound, 'enabled', NS)!.attrs, { xmlns: NS })
  client.askAck()
  assert.equal((await client.receive(isSm('a'))).attrs['h'], '0')
  client.write(`<enable xmlns='${NS}'/>`)
  await client.receive(isSm('failed'))
})

test('where stream management cannot begin, the client is bound and told so', async t => {
  const { store, troubles } = faultyStore({ only: 'sent_window' })
  const server = await people(t, { store })
  troubles.failReads = true
  const { client, bound } = await juliet(t, server, enable)
  const failed = child(bound, 'failed', NS)!
  assert.deepEqual(pluck(failed.children, 'name'), ['internal-server-error'])
  await client.ping()
})

test('messages that waited are not cleared: they come with the first presence', async t => {
  const server = await people(t)
  const romeo = await server.client('romeo')
  chat(romeo, 'juliet@localhost', 'early')
  await romeo.ping()
  const { client } = await juliet(t, server, enable)
  await available(client)
  await client.receive(says('early'))
})

test('modules answer in bound, before the session is there and when it is; nothing comes before the success', async t => {
  const steps: string[] = []
  const archive = testModule('mod_archive', ctx => {
    ctx.hook('bind2_features', ({ features }) => void features.push('urn:archive'))
    ctx.hook('bind2_request', async ({ account, bound, request }) => {
      steps.push(`request ${account.sessions.size} ${request.name}`)
      await turn()
      bound.append(xml('metadata', { xmlns: 'urn:archive' }))
    })
    ctx.hook('bind2_bound', ({ session, bound }) => {
      steps.push(`bound ${session.account.sessions.size}`)
      bound.append(xml('ready', { xmlns: 'urn:archive' }))
    })
    ctx.hook('session_opened', ({ session }) => {
      steps.push('opened')
      session.sendRaw("<note xmlns='urn:note'/>")
    })
  })
  const server = await people(t, { extra: [archive] })
  const client = await dial(t, server, 'juliet')
  const order: string[] = []
  client.on('element', (el: XmlElement) => order.push(el.name))
  const success = await byPassword(client, 'juliet', bind(enable))
  assert.deepEqual(
    child(success, 'bound', BIND2)!
      .children.filter(c => c.ns === 'urn:archive' || c.ns === NS)
      .map(c => c.name),
    ['metadata', 'enabled', 'ready'],
  )
  await client.ping()
  assert.deepEqual(order.slice(0, 3), ['success', 'features', 'note'])
  assert.deepEqual(steps, ['request 0 bind', 'bound 1', 'opened'])
})

test('an account that is removed while it is bound gets no session', async t => {
  const { slow, arrived, gate } = slowBind()
  const server = await people(t, { extra: [slow] })
  const client = await dial(t, server, 'juliet')
  const gone = closed(client)
  const login = byPassword(client, 'juliet', bind())
  await arrived.promise
  await server.server.host('localhost')!.removeAccount('juliet')
  gate.resolve()
  await assert.rejects(login)
  assert.match(await gone, /not-authorized/)
  assert.equal(server.server.sessionCount, 0)
})

test('a client that leaves while it is bound leaves nothing behind', async t => {
  const { slow, arrived, gate } = slowBind()
  const server = await people(t, { extra: [slow] })
  let opened = 0
  server.server.host('localhost')!.hooks.add('test', 'bind2_bound', () => void opened++)
  const client = await dial(t, server, 'juliet')
  const login = byPassword(client, 'juliet', `${agent()}${bind("<inactive xmlns='urn:xmpp:csi:0'/>")}`)
  await arrived.promise
  client.cut()
  await assert.rejects(login)
  const romeo = await server.client('romeo')
  await eventually(() => server.server.streams().length === 1, 'the end of her stream')
  gate.resolve()
  await romeo.ping()
  assert.equal(opened, 0)
  assert.deepEqual(resources(server), [])
})
