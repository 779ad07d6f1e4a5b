import assert from 'node:assert/strict'
import { test } from 'node:test'
import { child } from '../support/rawxml.ts'
import { available, befriend, closed, online, refused, says, serve } from '../support/talk.ts'

const BOTH = ['localhost', 'verona.example']

function say(to: string, id: string): string {
  return `<message to='${to}' type='chat' id='${id}'><body>${id}</body></message>`
}

for (const archive of [true, false]) {
  const modules = { mod_mam: { archive } }
  test(`a host goes and comes back; what waited on it waits on: ${archive ? 'with an archive' : 'until delivered'}`, async t => {
    const server = await serve(t, { hosts: BOTH, modules })
    const romeo = await server.client('romeo')
    const juliet = await server.client('juliet', { host: 'verona.example', resource: 'balcony' })
    await romeo.enable()
    await juliet.enable()
    await available(romeo)
    await available(juliet)
    romeo.send(say('juliet@verona.example', 'a'))
    await juliet.receive(says('a'))
    await romeo.ping()

    const bye = closed(juliet)
    await server.reload({ hosts: ['localhost'], modules })
    assert.match(await bye, /host-gone/)
    romeo.send(say('juliet@verona.example', 'b'))
    const bounced = await romeo.receive(el => el.attrs['id'] === 'b')
    assert.equal(bounced.attrs['type'], 'error')
    assert.ok(child(child(bounced, 'error')!, 'remote-server-not-found') !== undefined)
    await romeo.ping()

    await server.reload({ hosts: BOTH, modules })
    romeo.send(say('juliet@verona.example', 'c'))
    const again = await server.client('juliet', { host: 'verona.example' })
    await available(again)
    await again.receive(says('a'))
    await again.receive(says('c'))
    await again.ping()
  })
}

test('a module is restarted with other options, or goes, and nobody notices but those who use it', async t => {
  const server = await serve(t)
  const [romeo, juliet] = await online(server, 'romeo', 'juliet')
  await befriend(romeo, juliet)
  const archived = async () => {
    const results: string[] = []
    juliet.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
    for (;;) {
      const el = await juliet.receive(one => one.attrs['id'] === 'q' || child(one, 'result') !== undefined)
      if (el.attrs['id'] === 'q') return el.attrs['type'] === 'error' ? 'refused' : results
      const message = child(child(child(el, 'result')!, 'forwarded')!, 'message')!
      results.push(message.attrs['id']!)
    }
  }
  const tell = async (id: string) => {
    romeo.send(say('juliet@localhost', id))
    await juliet.receive(says(id))
  }
  await tell('a')
  assert.deepEqual(await archived(), ['a'])
  assert.deepEqual(await server.reload({ modules: { mod_mam: { archive: false } } }), [])
  await tell('b')
  assert.equal(await archived(), 'refused')
  await server.reload({ modules: { mod_mam: { archive: true, max_page: 1 } } })
  await tell('c')
  assert.deepEqual(await archived(), ['a'], 'a page of one')
  await server.reload({ modules: { mod_ping: false } })
  await refused('service-unavailable', juliet.request('get', "<ping xmlns='urn:xmpp:ping'/>", 'localhost'))
  await server.reload({})
  await juliet.ping()
  assert.deepEqual(await archived(), ['a', 'c'])
})

test('limits change for whoever connects from then on, and for nobody who is there', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  await server.reload({ listen: { max_stanza_size: 10_000 } })
  const juliet = await server.client('juliet')
  const large = `<message to='nobody@localhost' type='headline'><body>${'x'.repeat(20_000)}</body></message>`
  romeo.send(large)
  await romeo.ping()
  const bye = closed(juliet)
  juliet.send(large)
  assert.match(await bye, /policy-violation/)
})
