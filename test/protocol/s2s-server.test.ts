/** What the whole server does about others: at a reload and a stop, and with those that misbehave. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { Net } from '../support/federated.ts'
import { freeAddress } from '../support/loopback.ts'
import { RawPeer, RawPeerServer } from '../support/rawpeer.ts'
import { child, errorCondition } from '../support/rawxml.ts'
import { online, says } from '../support/talk.ts'
import { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const CAPULET = 'capulet.example'
const MONTAGUE = 'montague.example'

function chat(to: string, body: string): string {
  return `<message to='${to}' type='chat' id='${body}'><body>${body}</body></message>`
}

test('a domain of a module is reached and answers as itself, with the certificate that covers it', async t => {
  const net = await Net.start(t)
  const ip = freeAddress()
  net.name(ip, `upload.${MONTAGUE}`)
  const capulet = await net.server(freeAddress(), [CAPULET], {
    config: { s2s: { policy: 'require_valid_certificate' } },
  })
  await net.server(ip, [MONTAGUE], { http: {}, config: { s2s: { policy: 'require_valid_certificate' } } })
  const [juliet] = await online(capulet, 'juliet')
  const query = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
  const answer = await juliet.request('get', query, `upload.${MONTAGUE}`)
  assert.equal(answer.attrs['from'], `upload.${MONTAGUE}`)
})

test('a domain that leads to ourselves, and is none of ours, is not found', async t => {
  const net = await Net.start(t)
  const ip = freeAddress()
  const capulet = await net.server(ip, [CAPULET])
  net.name(ip, 'mirror.example')
  const [juliet] = await online(capulet, 'juliet')
  juliet.send(chat('romeo@mirror.example', 'hi'))
  const error = await juliet.receive(el => el.attrs['type'] === 'error')
  assert.equal(errorCondition(error), 'remote-server-not-found')
})

test('what is said while a server is away arrives when it is back', async t => {
  const net = await Net.start(t)
  const ip = freeAddress()
  const capulet = await net.server(freeAddress(), [CAPULET], { config: { s2s: { retry_max: '200ms' } } })
  net.name(ip, MONTAGUE)
  const options = await net.options(ip, [MONTAGUE], { store: keptStore() })
  const before = await TestServer.start(options)
  const [juliet] = await online(capulet, 'juliet')
  const [romeo] = await online(before, 'romeo')
  juliet.send(chat(romeo.jid, 'one'))
  await romeo.receive(says('one'))
  await before.stop()
  juliet.send(chat(`romeo@${MONTAGUE}`, 'two'))
  await juliet.ping()
  const after = await TestServer.start(options)
  t.after(() => after.stop())
  const [again] = await online(after, 'romeo')
  await again.receive(says('two'))
})

/** A store in memory that outlives the server. */
function keptStore() {
  const store = openMemoryStore()
  return {
    ...store,
    table: store.table.bind(store),
    commit: store.commit.bind(store),
    dump: store.dump.bind(store),
    load: store.load.bind(store),
    close: async () => {},
  }
}

test('a reload is followed: who may be talked with, and which domains there are', async t => {
  const net = await Net.start(t)
  const [here, there] = [freeAddress(), freeAddress()]
  const hosts = [CAPULET, 'verona.example']
  net.name(here, 'verona.example')
  const capulet = await net.server(here, hosts)
  const montague = await net.server(there, [MONTAGUE])
  const [romeo] = await online(montague, 'romeo')
  const [juliet] = await online(capulet, 'juliet')
  const escalus = await capulet.client('escalus', { host: 'verona.example' })
  juliet.send(chat(romeo.jid, 'one'))
  await romeo.receive(says('one'))
  escalus.send(chat(romeo.jid, 'two'))
  await romeo.receive(says('two'))

  await capulet.reload(await net.options(here, [CAPULET]))
  const late = await RawPeer.connect({ ip: here })
  late.open({ from: MONTAGUE, to: 'verona.example' })
  assert.equal(await late.streamError(), 'host-unknown')
  const { streams } = capulet.server.parts.federating.server
  await eventually(() => [...streams].every(({ local }) => local !== 'verona.example'), 'its streams to end')
  juliet.send(chat(romeo.jid, 'three'))
  await romeo.receive(says('three'))

  await capulet.reload(await net.options(here, [CAPULET], { config: { s2s: { access: 'none' } } }))
  juliet.send(chat(romeo.jid, 'four'))
  const forbidden = await juliet.receive(el => el.attrs['type'] === 'error')
  assert.deepEqual([errorCondition(forbidden), forbidden.attrs['id']], ['forbidden', 'four'])
  const stranger = await RawPeer.connect({ ip: here })
  stranger.open({ from: MONTAGUE, to: CAPULET })
  assert.equal(await stranger.streamError(), 'policy-violation')
})

test('servers that say nothing, or take nothing, delay nobody else', async t => {
  const net = await Net.start(t)
  const [silent, deaf, here] = [freeAddress(), freeAddress(), freeAddress()]
  net.name(silent, 'silent.example')
  net.name(deaf, 'deaf.example')
  await RawPeerServer.listen(t, { ip: silent })
  const deafServer = await RawPeerServer.listen(t, { ip: deaf })
  const capulet = await net.server(here, [CAPULET])
  const montague = await net.server(freeAddress(), [MONTAGUE])
  const [juliet, nurse] = await online(capulet, 'juliet', 'nurse')
  const [romeo] = await online(montague, 'romeo')
  juliet.send(chat(romeo.jid, 'first'))
  await romeo.receive(says('first'))

  // One never answers; one lets us in, and reads no more.
  juliet.send(chat('a@silent.example', 'hello?'))
  juliet.send(chat('a@deaf.example', 'hello?'))
  const { peer } = await deafServer.encrypted(net.ca.issue(['deaf.example']), '')
  await peer.element()
  peer.write(`<db:result from='deaf.example' to='${CAPULET}' type='valid'/>`)
  await peer.element()
  peer.socket.pause()
  const large = 'x'.repeat(50_000)
  for (let i = 0; i < 200; i++) nurse.send(`<message to='a@deaf.example' type='chat'><body>${large}</body></message>`)
  for (let i = 0; i < 20; i++) {
    const began = performance.now()
    juliet.send(chat(romeo.jid, `to romeo ${i}`))
    await romeo.receive(says(`to romeo ${i}`))
    juliet.send(chat(nurse.jid, `to nurse ${i}`))
    await nurse.receive(says(`to nurse ${i}`))
    assert.ok(performance.now() - began < 2000)
  }
  const unread = [...capulet.server.parts.federating.server.streams].map(({ backlog }) => backlog)
  assert.ok(Math.max(...unread) < 4 * 1024 * 1024, `it holds ${unread} bytes`)
})

test('who comes to us is asked to show who it is for each of its domains, and speaks for no other', async t => {
  const net = await Net.start(t)
  const ip = freeAddress()
  const capulet = await net.server(ip, [CAPULET])
  const [juliet] = await online(capulet, 'juliet')
  const peer = await RawPeer.connect({ ip })
  await peer.encrypt(MONTAGUE, CAPULET, net.ca.issue([MONTAGUE]))
  await peer.external(MONTAGUE, CAPULET)
  peer.write(`<message from='romeo@${MONTAGUE}/o' to='${juliet.jid}' type='chat'><body>me</body></message>`)
  const heard = await juliet.receive(says('me'))
  assert.equal(child(heard, 'stanza-id')?.attrs['by'], `juliet@${CAPULET}`)
  peer.write(`<message from='tybalt@${CAPULET}' to='${juliet.jid}' type='chat'><body>him</body></message>`)
  assert.equal(await peer.streamError(), 'invalid-from')
  await juliet.ping()
  await assert.rejects(juliet.receive(says('him'), 1))
})

test('what is larger than a server takes goes back to who has sent it, and holds up nothing', async t => {
  const net = await Net.start(t)
  const capulet = await net.server(freeAddress(), [CAPULET])
  const montague = await net.server(freeAddress(), [MONTAGUE], { s2s: { listen: { max_stanza_size: 20_000 } } })
  const [juliet] = await online(capulet, 'juliet')
  const [romeo] = await online(montague, 'romeo')
  const errorFor = async (id: string): Promise<string> => {
    const error = await juliet.receive(el => el.attrs['id'] === id && el.attrs['type'] === 'error')
    return errorCondition(error)
  }
  const large = 'x'.repeat(20_000)
  // First it is not known what is taken there, then it is.
  for (const time of ['first', 'second']) {
    juliet.send(`<message to='romeo@${MONTAGUE}' type='chat' id='${time}'><body>${large}</body></message>`)
    juliet.send(`<iq to='${romeo.jid}' type='get' id='${time} iq'><query xmlns='urn:x'>${large}</query></iq>`)
    juliet.send(chat(romeo.jid, `after the ${time}`))
    await romeo.receive(says(`after the ${time}`))
    assert.equal(await errorFor(time), 'policy-violation')
    assert.equal(await errorFor(`${time} iq`), 'policy-violation')
  }
  await eventually(
    () => [...capulet.server.links.links()].every(({ queue }) => queue.messages === 0),
    'nothing to wait',
  )
})
