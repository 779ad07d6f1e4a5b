import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Entry, Origin } from '../../../src/core/queue/entry.ts'
import { PeerError } from '../../../src/s2s/peererror.ts'
import { StreamError } from '../../../src/xmpp/errors.ts'
import { eventually, settled } from '../../support/waiting.ts'
import { FakeOrigin, stanza } from '../core/support.ts'
import { bodyIn, LIMITS, Net, Side, stanzasOf } from './net.ts'

const ROMEO = 'romeo@montague.example/orchard'
const JULIET = 'juliet@capulet.example'

function world(manner: Partial<Net['manner']> = {}) {
  const net = new Net({ sm: true, bidi: false, ...manner })
  const montague = new Side(net, 'montague.example', ['rooms.montague.example'])
  const capulet = new Side(net, 'capulet.example')
  return { net, montague, capulet, link: () => montague.link('capulet.example') }
}

type World = ReturnType<typeof world>

const say = ({ montague }: Pick<World, 'montague'>, body: string, to = JULIET, from = ROMEO, origin?: Origin) =>
  montague.host.router.route(
    stanza(`<message type='chat' id='${body}' from='${from}' to='${to}'><body>${body}</body></message>`),
    { origin },
  )
const ask = ({ montague }: Pick<World, 'montague'>, id: string, to = JULIET) =>
  montague.route(`<iq type='get' id='${id}' from='${ROMEO}' to='${to}'><query xmlns='jabber:iq:last'/></iq>`)
const arrived = ({ montague }: Pick<World, 'montague'>, remote = 'capulet.example') =>
  eventually(async () => (await montague.link(remote)).queue.messages === 0, 'everything is acknowledged')
const bodies = (stanzas: readonly { toString(): string }[]) => stanzas.map(sent => bodyIn(sent.toString()))

/** What came back to romeo: id and condition. */
async function errorsTo({ montague }: Pick<World, 'montague'>) {
  const romeo = await montague.client('romeo')
  Object.defineProperty(romeo.jid, 'resource', { value: 'orchard' })
  romeo.account.sessions.set('orchard', romeo)
  romeo.account.sessions.delete('r')
  return () =>
    romeo.stanzas
      .filter(({ type }) => type === 'error')
      .map(({ el, id }) => `${id} ${el.getChild('error')?.children.find(child => typeof child !== 'string')?.name}`)
}

test('a message is acknowledged to its sender when it is durable, and goes when the peer has it', async () => {
  const w = world()
  const origin = new FakeOrigin()
  await say(w, 'hello', JULIET, ROMEO, origin)
  const link = await w.link()
  assert.equal(link.queue.messages, 1)
  await eventually(() => origin.safeIds.length === 1)
  await arrived(w)
  const juliet = await w.capulet.client('juliet')
  assert.deepEqual(bodies(juliet.stanzas), ['hello'])
  const text = String(juliet.stanzas[0])
  assert.ok(!text.includes("by='montague.example'"), 'what its server called it is of no use to her')
  assert.ok(text.includes(`by='${JULIET}'`))
})

test('what its sender says in order arrives in order, kept or not, over a connection that is yet to come', async () => {
  const w = world()
  void w.montague.route(`<presence from='${ROMEO}' to='room@capulet.example/romeo'/>`)
  void say(w, 'first', 'room@capulet.example')
  void ask(w, 'second', 'room@capulet.example')
  await say(w, 'third', 'room@capulet.example')
  await arrived(w)
  assert.deepEqual(
    stanzasOf(w.net)
      .filter(xml => xml.includes(`from='${ROMEO}'`))
      .map(xml => /^<(presence|iq)/.exec(xml)?.[1] ?? bodyIn(xml)),
    ['presence', 'first', 'iq', 'third'],
  )
})

test('... nor does anything overtake messages that wait for room', async () => {
  const w = world()
  await say(w, '0')
  await arrived(w)
  w.net.still.add('capulet.example')
  for (let i = 1; i <= 600; i++) await say(w, String(i))
  await ask(w, 'after')
  const link = await w.link()
  assert.ok(link.conversation!.unacknowledged <= 512, 'what is in flight is bounded')
  w.net.wake()
  await arrived(w)
  await eventually(() => stanzasOf(w.net).some(xml => xml.includes("id='after'")))
  const sent = stanzasOf(w.net).filter(xml => xml.startsWith('<message') || xml.includes("id='after'"))
  assert.equal(
    sent.findIndex(xml => xml.startsWith('<iq')),
    601,
  )
})

test('a domain that does not exist: its author is told at once, of what waits too', async () => {
  const w = world()
  const errors = await errorsTo(w)
  await say(w, 'one', 'juliet@nowhere.example')
  await eventually(() => errors().length === 1)
  await say(w, 'two', 'juliet@nowhere.example')
  await ask(w, 'three', 'juliet@nowhere.example')
  await eventually(() => errors().length === 3)
  // An attempt may be under way again: then the iq is told when that has failed, and the message when it has left the queue.
  assert.deepEqual(errors().toSorted(), [
    'one remote-server-not-found',
    'three remote-server-not-found',
    'two remote-server-not-found',
  ])
  const link = await w.montague.link('nowhere.example')
  assert.equal(link.queue.messages, 0)
})

test('a domain that was there, and whose DNS fails: messages wait for it, also after a restart', async () => {
  const w = world()
  const errors = await errorsTo(w)
  await say(w, 'one')
  await arrived(w)
  await w.montague.crash()
  w.net.down = 'remote-server-not-found'
  await say(w, 'two')
  const link = await w.link()
  await eventually(() => link.failure !== undefined)
  await settled()
  assert.equal(link.queue.messages, 1)
  w.net.down = undefined
  await arrived(w)
  assert.deepEqual(errors(), [])
})

test('a peer that is down: messages wait, questions wait for one attempt and no longer', async () => {
  const w = world()
  w.montague.retryMax = 3_600_000
  const errors = await errorsTo(w)
  w.net.down = 'remote-server-timeout'
  const origin = new FakeOrigin()
  await say(w, 'message', JULIET, ROMEO, origin)
  await ask(w, 'during')
  await eventually(() => errors().length === 1)
  const { attempts } = w.net
  await ask(w, 'after')
  assert.deepEqual(errors(), ['during remote-server-timeout', 'after remote-server-timeout'])
  assert.equal(w.net.attempts, attempts, 'it was tried a moment ago')
  await eventually(() => origin.safeIds.length === 1, 'the message is durable')
  assert.equal((await w.link()).state, 'waiting')
})

test('it is tried again, later each time; who comes when the last attempt is long ago has it tried at once', async t => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() })
  const w = world()
  w.montague.retryMax = 3_600_000
  w.net.down = 'remote-server-timeout'
  const pass = async (ms: number) => {
    t.mock.timers.tick(ms)
    await settled(10)
  }
  await say(w, 'message')
  await settled(10)
  assert.equal(w.net.attempts, 1)
  const counts: number[] = []
  for (let i = 0; i < 9; i++) {
    const before = w.net.attempts
    await pass(1000 * 2 ** i)
    counts.push(w.net.attempts - before)
  }
  assert.ok(w.net.attempts >= 8 && w.net.attempts <= 12, `in 8 minutes: ${counts}`)
  const { attempts } = w.net
  await ask(w, 'soon')
  await settled(10)
  await pass(16_000)
  await ask(w, 'later')
  await settled(10)
  assert.ok(w.net.attempts > attempts)
})

test('a peer that comes back is found when it connects to us', async () => {
  const w = world()
  w.montague.retryMax = 3_600_000
  w.net.down = 'remote-server-timeout'
  await say(w, 'message')
  const link = await w.link()
  for (let i = 0; i < 4; i++) {
    await eventually(() => link.state === 'waiting')
    link.retry()
  }
  await eventually(() => link.state === 'waiting')
  w.net.down = undefined
  await new Promise(resolve => setTimeout(resolve, 1010)) // the last attempt was a moment ago
  await w.capulet.route(`<message type='chat' from='${JULIET}' to='romeo@montague.example'><body>hi</body></message>`)
  await arrived(w)
})

test('the connection breaks and is resumed: nothing twice, questions are answered', async () => {
  const w = world()
  await say(w, '0')
  await arrived(w)
  w.net.still.add('capulet.example')
  for (let i = 1; i <= 5; i++) await say(w, String(i))
  await ask(w, 'question')
  const link = await w.link()
  const { conversation } = link
  w.net.cut()
  assert.equal(link.state, 'connecting')
  w.net.wake()
  await arrived(w)
  assert.equal(link.conversation, conversation)
  const juliet = await w.capulet.client('juliet')
  assert.deepEqual(bodies(juliet.stanzas), ['0', '1', '2', '3', '4', '5'])
  assert.equal(w.capulet.links.counters.again.value, 0, 'nothing had to be recognised')
})

test('it breaks and cannot be resumed: who asked is told, messages go again', async () => {
  const w = world()
  const errors = await errorsTo(w)
  await say(w, '0')
  await arrived(w)
  w.net.still.add('capulet.example')
  await say(w, '1')
  await ask(w, 'question')
  w.net.down = 'remote-server-timeout'
  w.net.cut()
  await eventually(() => errors().length === 1)
  assert.deepEqual(errors(), ['question remote-server-timeout'])
  await w.capulet.crash()
  w.net.down = undefined
  w.net.wake()
  await arrived(w)
  const juliet = await w.capulet.client('juliet')
  assert.deepEqual(bodies(juliet.stanzas), ['0', '1'])
})

test('a peer that has crashed gets again what it may have, and knows it', async () => {
  const w = world()
  await say(w, '0')
  await arrived(w)
  await say(w, '1')
  await settled(8)
  w.capulet.disk.troubles.writes.open()
  await w.capulet.crash()
  await arrived(w)
  const juliet = await w.capulet.client('juliet')
  assert.deepEqual(bodies(juliet.stanzas), ['0', '1'])
})

test('without stream management a ping after the messages tells that they are there', async () => {
  const w = world({ sm: false })
  await say(w, 'hello')
  await arrived(w)
  const pings = stanzasOf(w.net).filter(xml => xml.includes('urn:xmpp:ping'))
  assert.equal(pings.length, 1)
  assert.match(pings[0]!, /^<iq type='get' id='[^']+' from='montague.example' to='capulet.example'>/)
})

test('... and what is said while one is open is asked for by the next', async () => {
  const w = world({ sm: false })
  await say(w, '0')
  await arrived(w)
  w.net.still.add('capulet.example')
  for (let i = 1; i <= 150; i++) await say(w, String(i))
  w.net.wake()
  await arrived(w)
  const link = await w.link()
  assert.equal(link.conversation!.unacknowledged, 0)
  const juliet = await w.capulet.client('juliet')
  assert.deepEqual(
    bodies(juliet.stanzas),
    Array.from({ length: 151 }, (_, i) => String(i)),
  )
})

test('... which is answered when everything before it is safe', async () => {
  const w = world({ sm: false })
  await say(w, '0')
  await arrived(w)
  w.capulet.disk.troubles.writes.close()
  await say(w, '1')
  await eventually(() => stanzasOf(w.net).filter(xml => xml.includes('urn:xmpp:ping')).length === 2)
  await settled(20)
  assert.equal((await w.link()).queue.messages, 1)
  w.capulet.disk.troubles.writes.open()
  await arrived(w)
})

test('... also where very many messages wait on both sides', async () => {
  const w = world({ sm: false })
  const back = (n: number) =>
    w.capulet.route(`<message type='chat' from='${JULIET}' to='romeo@montague.example'><body>${n}</body></message>`)
  await Promise.all([say(w, 'first'), back(0)])
  await arrived(w)
  w.net.still.add('montague.example').add('capulet.example')
  for (let n = 1; n <= 600; n++) await Promise.all([say(w, String(n)), back(n)])
  w.net.wake()
  await arrived(w)
  await eventually(async () => (await w.capulet.link('montague.example')).queue.messages === 0)
})

test('a peer that does not acknowledge costs no more than its window, and delays nobody', async () => {
  const w = world()
  new Side(w.net, 'verona.example')
  await say(w, '0')
  await arrived(w)
  w.net.still.add('capulet.example')
  for (let i = 1; i <= 700; i++) await say(w, String(i))
  const link = await w.link()
  assert.equal(link.conversation!.full, true)
  assert.ok(link.conversation!.unacknowledged <= 512)
  await say(w, 'to another', 'prince@verona.example')
  await arrived(w, 'verona.example')
  await say(w, 'here', 'benvolio@montague.example')
  assert.deepEqual(bodies((await w.montague.client('benvolio')).stanzas), ['here'])
  w.net.wake()
  await arrived(w)
})

test('a peer that does not read gets no more than it may leave unread, whatever it is', async () => {
  const w = world()
  await say(w, '0')
  await arrived(w)
  const link = await w.link()
  for (const end of w.net.ends) end.taken = false
  w.net.still.add('capulet.example')
  const big = 'x'.repeat(100_000)
  for (let i = 1; i <= 20; i++) await say(w, big)
  for (let i = 0; i < 20; i++) {
    await w.montague.route(`<presence from='${ROMEO}' to='${JULIET}'><status>${big}</status></presence>`)
  }
  const unread = Math.max(...[...w.net.ends].map(({ backlog }) => backlog))
  assert.ok(unread < 1_500_000, `${unread} bytes`)
  assert.ok(link.weight < 600_000)
  assert.equal(link.queue.messages, 20)
})

for (const sm of [true, false]) {
  test(`a peer that does not answer ${sm ? 'a request' : 'a ping'} loses its connection`, async t => {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() })
    const w = world({ sm })
    if (!sm) {
      await say(w, '0')
      await settled(10)
      t.mock.timers.tick(300)
      await settled(20)
      assert.equal((await w.link()).queue.messages, 0, 'it has answered once')
    }
    w.net.still.add('capulet.example')
    await say(w, '1')
    const link = await w.link()
    await settled(10)
    assert.equal(link.state, 'connected')
    w.net.down = 'remote-server-timeout'
    for (let passed = 0; passed <= (sm ? 30_000 : 60_000); passed += 500) {
      t.mock.timers.tick(500)
      await settled(2)
    }
    assert.notEqual(link.state, 'connected')
    assert.equal(link.queue.messages, 1)
  })
}

for (const sm of [true, false]) {
  test(`a message that the peer cannot bear goes back, and holds up nothing for good (${sm ? 'sm' : 'ping'})`, async () => {
    const w = world({ sm })
    const errors = await errorsTo(w)
    w.montague.retryMax = 2
    w.montague.goneAfter = 200
    w.net.poison = '<body>poison</body>'
    const begun = performance.now()
    await say(w, '1')
    await say(w, 'poison')
    for (let i = 2; i <= 20; i++) await say(w, String(i))
    await arrived(w)
    assert.deepEqual(errors(), ['poison policy-violation'])
    assert.ok(w.net.attempts >= 10 && performance.now() - begun >= 200)
    assert.deepEqual(
      bodies((await w.capulet.client('juliet')).stanzas),
      Array.from({ length: 20 }, (_, i) => String(i + 1)),
    )
  })
}

test('what waits for a domain that is denied from now on goes back', async () => {
  const w = world()
  const errors = await errorsTo(w)
  w.net.down = 'remote-server-timeout'
  await say(w, 'waits')
  await settled()
  w.net.down = 'forbidden'
  await eventually(() => errors().length === 1)
  assert.deepEqual(errors(), ['waits forbidden'])
})

test('what is not kept and waits is bounded', async () => {
  const w = world()
  const errors = await errorsTo(w)
  w.montague.links.connector = { connect: () => new Promise(() => {}) }
  for (let i = 0; i < 250; i++) await ask(w, String(i))
  assert.equal(errors().length, 50)
  assert.ok(errors().every(error => error.endsWith('resource-constraint')))
  for (let i = 0; i < 10; i++) {
    await w.montague.route(
      `<iq type='set' id='large' from='${ROMEO}' to='prince@verona.example'><x xmlns='y'>${'x'.repeat(100_000)}</x></iq>`,
    )
  }
  assert.equal(errors().length, 55)
})

test('links with which nothing goes on leave memory', async () => {
  const w = world()
  w.montague.links.connector = { connect: () => Promise.reject(new PeerError('remote-server-timeout', 'down')) }
  await say(w, 'this one waits')
  for (let i = 0; i < 2500; i++) await ask(w, 'one', `juliet@${i}.example`)
  await settled()
  assert.ok([...w.montague.links.links()].length <= 2100)
  assert.ok([...w.montague.links.links()].some(({ queue }) => queue.messages === 1))
  await w.montague.links.stop(0)
})

test('a stream that goes both ways carries both; what was queued before it takes it', async () => {
  const w = world({ bidi: true })
  await say(w, 'there')
  await arrived(w)
  await w.capulet.route(`<message type='chat' from='${JULIET}' to='romeo@montague.example'><body>back</body></message>`)
  await eventually(async () => (await w.capulet.link('montague.example')).queue.messages === 0)
  assert.equal(w.net.attempts, 1)
  assert.deepEqual(bodies((await w.montague.client('romeo')).stanzas), ['back'])
})

test('... also where both sides begin at the same time', async () => {
  const w = world({ bidi: true })
  const back = `<message type='chat' from='${JULIET}' to='romeo@montague.example'><body>back</body></message>`
  await Promise.all([say(w, 'there'), w.capulet.route(back)])
  const links = [await w.link(), await w.capulet.link('montague.example')]
  await eventually(() => links.every(({ queue }) => queue.messages === 0))
  assert.ok(links.every(({ state }) => state === 'connected'))
  assert.equal(w.net.attempts, 2)
})

test('... and is resumed by who began it: the other side waits for that', async () => {
  const w = world({ bidi: true })
  await say(w, 'there')
  await arrived(w)
  w.net.still.add('montague.example')
  await w.capulet.route(`<message type='chat' from='${JULIET}' to='romeo@montague.example'><body>back</body></message>`)
  await settled()
  w.net.cut()
  w.net.wake()
  await eventually(async () => (await w.capulet.link('montague.example')).queue.messages === 0)
  assert.equal(w.net.attempts, 2)
  assert.equal(w.montague.links.counters.again.value, 0)
})

test('another domain of ours is sent for on the same stream, where the peer takes it', async () => {
  const w = world()
  w.net.sharing = true
  await say(w, 'from a user')
  await say(w, 'from a room', JULIET, 'garden@rooms.montague.example')
  await arrived(w)
  await eventually(
    async () => (await w.montague.link('capulet.example', 'rooms.montague.example')).queue.messages === 0,
  )
  assert.equal(w.net.attempts, 1)
  w.net.cut()
  await say(w, 'again')
  await say(w, 'again from a room', JULIET, 'garden@rooms.montague.example')
  await arrived(w)
  await eventually(
    async () => (await w.montague.link('capulet.example', 'rooms.montague.example')).queue.messages === 0,
  )
  assert.equal(w.net.attempts, 2, 'one of them has resumed it, for both')
  assert.deepEqual(bodies((await w.capulet.client('juliet')).stanzas).sort(), [
    'again',
    'again from a room',
    'from a room',
    'from a user',
  ])
})

test('... and where it does not, on another', async () => {
  const w = world()
  await say(w, 'from a user')
  await say(w, 'from a room', JULIET, 'garden@rooms.montague.example')
  await eventually(
    async () => (await w.montague.link('capulet.example', 'rooms.montague.example')).queue.messages === 0,
  )
  assert.equal(w.net.attempts, 2)
})

test('what waits is found after a restart, and delivered', async () => {
  const w = world()
  w.net.down = 'remote-server-timeout'
  await say(w, '1')
  await say(w, '2')
  await settled()
  await w.montague.crash()
  w.net.down = undefined
  await arrived(w)
  assert.deepEqual(bodies((await w.capulet.client('juliet')).stanzas), ['1', '2'])
})

test('a message that waited says since when', async t => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const w = world()
  w.montague.retryMax = 3_600_000
  w.net.down = 'remote-server-timeout'
  const sent = new Date()
  await say(w, 'late')
  await eventually(async () => (await w.link()).state === 'waiting')
  t.mock.timers.setTime(sent.getTime() + 3_600_000)
  w.net.down = undefined
  const link = await w.link()
  link.retry()
  await eventually(() => stanzasOf(w.net).some(xml => bodyIn(xml) === 'late'))
  const [text] = stanzasOf(w.net)
  assert.ok(
    text!.includes(`<delay xmlns='urn:xmpp:delay' from='montague.example' stamp='${sent.toISOString()}'/>`),
    text,
  )
})

test('with domains that are denied nothing is said, and nothing is said for domains that are not ours', async () => {
  const w = world()
  const errors = await errorsTo(w)
  w.montague.allowed = false
  await say(w, 'no')
  assert.deepEqual(errors(), ['no forbidden'])
  w.montague.allowed = true
  await say(w, 'forged', JULIET, 'paris@elsewhere.example')
  await settled()
  assert.equal(w.net.attempts, 0)
})

test('too many messages for one domain are refused, and the sender is told', async () => {
  const w = world()
  const errors = await errorsTo(w)
  w.montague.limits = { ...LIMITS, senderMessages: 2 }
  w.net.down = 'remote-server-timeout'
  for (let i = 1; i <= 3; i++) await say(w, String(i))
  assert.deepEqual(errors(), ['3 resource-constraint'])
})

test('modules learn of messages that are queued, accepted, given up', async () => {
  const w = world()
  const heard: string[] = []
  const hear =
    (what: string) =>
    ({ about, remote }: { about: Entry['about']; remote: string }) =>
      void heard.push(`${what} ${about!.messageId} of ${about!.from} for ${remote}`)
  const { hooks } = w.montague.host
  hooks.add('test', 'peer_message_queued', hear('queued'))
  hooks.add('test', 'peer_message_accepted', hear('accepted'))
  hooks.add('test', 'peer_message_bounced', hear('bounced'))
  await say(w, 'm1')
  await arrived(w)
  await say(w, 'm2', 'juliet@nowhere.example')
  await eventually(() => heard.length === 4)
  assert.deepEqual(heard, [
    'queued m1 of romeo@montague.example for capulet.example',
    'accepted m1 of romeo@montague.example for capulet.example',
    'queued m2 of romeo@montague.example for nowhere.example',
    'bounced m2 of romeo@montague.example for nowhere.example',
  ])
})

test('a peer that is gone for long is said to be, and that it is back', async () => {
  const w = world()
  const heard: string[] = []
  const { hooks } = w.montague.host
  hooks.add('test', 'peer_gone', ({ local, remote }) => void heard.push(`gone ${local} ${remote}`))
  hooks.add('test', 'peer_back', ({ local, remote }) => void heard.push(`back ${local} ${remote}`))
  w.montague.goneAfter = 30
  await say(w, 'hello')
  await arrived(w)
  const link = await w.link()
  w.net.cut()
  await eventually(() => link.state !== 'connected')
  await say(w, 'again')
  await arrived(w)
  assert.deepEqual(heard, [], 'it was soon there again')
  w.net.down = 'remote-server-timeout'
  await say(w, 'wait')
  w.net.cut()
  await eventually(() => heard.length === 1)
  w.net.down = undefined
  await eventually(() => heard.length === 2)
  assert.deepEqual(heard, ['gone montague.example capulet.example', 'back montague.example capulet.example'])
})

test('a stop gives what is under way time to arrive, and keeps the rest', async () => {
  const w = world()
  await say(w, '1')
  await arrived(w)
  void say(w, '2')
  void say(w, '3')
  await w.montague.links.stop(5000)
  assert.equal(w.net.ends.size, 0)
  assert.deepEqual(bodies((await w.capulet.client('juliet')).stanzas), ['1', '2', '3'])
  await say(w, 'later')
  await settled()
  w.montague.begin()
  await w.montague.links.start()
  await arrived(w)
})

test('a peer that says to have more than it was sent loses its stream', async () => {
  const w = world()
  await say(w, '1')
  await arrived(w)
  const { conversation } = await w.link()
  assert.throws(() => conversation!.acknowledged(stanza("<iq from='a@b' h='99'/>").el), StreamError)
  assert.throws(() => conversation!.acknowledged(stanza("<iq from='a@b' h='-1'/>").el), StreamError)
})
