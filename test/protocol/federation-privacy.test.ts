/** Who keeps people of other servers out, and who lets them in: XEP-0191, mod_block_strangers, XEP-0379; phones woken from afar. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { run } from '../support/commands.ts'
import { PushService } from '../support/pushservice.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition } from '../support/rawxml.ts'
import { available, befriend, nothing, presenceFrom, refused, says } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'
import { TwoServers } from '../support/twoservers.ts'

const [ROMEO, JULIET] = ['romeo@montague.example', 'juliet@capulet.example']
const PING = "<ping xmlns='urn:xmpp:ping'/>"

async function online(server: TestServer, user: string): Promise<RawClient> {
  const client = await server.client(user, { resource: 'one' })
  await available(client)
  return client
}

async function lovers(t: TestContext, capulet: TestOptions = {}) {
  const two = await TwoServers.start(t, { capulet })
  return { two, romeo: await online(two.montague, 'romeo'), juliet: await online(two.capulet, 'juliet') }
}

function chat(to: string, body: string): string {
  return `<message to='${to}' type='chat' id='${body}'><body>${body}</body></message>`
}

const block = (client: RawClient, ...jids: string[]) =>
  client.request('set', `<block xmlns='urn:xmpp:blocking'>${jids.map(jid => `<item jid='${jid}'/>`).join('')}</block>`)
const unblock = (client: RawClient) => client.request('set', "<unblock xmlns='urn:xmpp:blocking'/>")

async function failure(client: RawClient, id: string): Promise<string> {
  return errorCondition(await client.receive(el => el.attrs['id'] === id && el.attrs['type'] === 'error'))
}

for (const [what, jid] of [
  ['an address', ROMEO],
  ['one of its clients', `${ROMEO}/one`],
  ['a server', 'montague.example'],
] as const) {
  test(`who is blocked (${what}) is answered as by nobody, sees the user go, and is not written to`, async t => {
    const { two, romeo, juliet } = await lovers(t)
    await befriend(romeo, juliet)
    await block(juliet, jid)
    await romeo.receive(presenceFrom(juliet.jid, 'unavailable'))
    const came = two.arrivals('montague')
    const ask = async (to: string): Promise<string> => {
      romeo.send(chat(to, 'hi'))
      return failure(romeo, 'hi')
    }
    assert.equal(await ask(JULIET), await ask('nobody@capulet.example'))
    for (const to of [JULIET, juliet.jid]) await refused('service-unavailable', romeo.request('get', PING, to))
    romeo.send('<presence><show>away</show></presence>')
    romeo.send(`<presence type='probe' to='${JULIET}'/>`)
    await two.settled(romeo)
    await nothing(juliet, el => el.attrs['from']?.startsWith(ROMEO) === true)
    juliet.send(chat(romeo.jid, 'no'))
    assert.equal(await failure(juliet, 'no'), 'not-acceptable')
    juliet.send('<presence><show>dnd</show></presence>')
    await juliet.ping()
    await two.settled(romeo)
    const told = came.filter(line => line.startsWith('presence') && line.endsWith(romeo.jid))
    assert.deepEqual(told, [])
    await unblock(juliet)
    await romeo.receive(el => presenceFrom(juliet.jid)(el) && child(el, 'show')?.text === 'dnd')
    await juliet.receive(el => presenceFrom(romeo.jid)(el) && child(el, 'show')?.text === 'away')
    romeo.send(chat(JULIET, 'again'))
    await juliet.receive(says('again'))
  })
}

test('a block of somebody keeps nobody of the same name out who is of another server', async t => {
  const { two, romeo, juliet } = await lovers(t)
  await block(juliet, 'romeo@capulet.example', 'romeo@verona.example')
  romeo.send(chat(JULIET, 'hi'))
  await juliet.receive(says('hi'))
  const namesake = await online(two.capulet, 'romeo')
  namesake.send(chat(JULIET, 'no'))
  assert.equal(await failure(namesake, 'no'), 'service-unavailable')
})

test('people of other servers are strangers until they are written to, or contacts; their namesakes here are not they', async t => {
  const { two, romeo, juliet } = await lovers(t, { modules: { mod_block_strangers: {} } })
  romeo.send(chat(JULIET, 'stranger'))
  assert.equal(await failure(romeo, 'stranger'), 'service-unavailable')
  const namesake = await online(two.capulet, 'romeo')
  juliet.send(chat('romeo@capulet.example', 'to the namesake'))
  await namesake.receive(says('to the namesake'))
  romeo.send(chat(JULIET, 'still a stranger'))
  assert.equal(await failure(romeo, 'still a stranger'), 'service-unavailable')
  juliet.send(chat(ROMEO, 'hello'))
  await romeo.receive(says('hello'))
  romeo.send(chat(JULIET, 'answer'))
  await juliet.receive(says('answer'))
  const tybalt = await online(two.montague, 'tybalt')
  await befriend(tybalt, juliet)
  tybalt.send(chat(JULIET, 'contact'))
  await juliet.receive(says('contact'))
  // A server itself, and what it serves, is none.
  two.send(`<message from='montague.example' to='${JULIET}'><body>maintenance</body></message>`)
  await juliet.receive(says('maintenance'))
})

test('who has an account elsewhere becomes a contact by an invitation, without being asked', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const uri = (await run(juliet, 'urn:xmpp:invite#invite')).values['uri']![0]!
  const token = /preauth=([^;&]+)/.exec(uri)![1]!
  const wish = (to: string) =>
    `<presence to='${to}' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='${token}'/></presence>`
  romeo.send(`<presence to='${JULIET}' type='subscribed'/>`)
  romeo.send(wish(JULIET))
  await romeo.receive(presenceFrom(juliet.jid))
  await juliet.receive(presenceFrom(romeo.jid))
  await two.nothing(juliet, presenceFrom(ROMEO, 'subscribe'), romeo)
  const tybalt = await online(two.montague, 'tybalt')
  tybalt.send(wish(JULIET))
  await juliet.receive(presenceFrom('tybalt@montague.example', 'subscribe')) // it was used up
})

test('a push service of another server wakes a phone; while it cannot be reached the phone stays registered', async t => {
  const { two, romeo, juliet } = await lovers(t, { modules: { mod_push: { retry_after: '100ms' } } })
  const service = await PushService.start(two.montague)
  await juliet.request('set', service.enable('n1'))
  await juliet.close()
  romeo.send(chat(JULIET, '1'))
  const { from, node } = await service.next()
  assert.deepEqual([from, node], ['capulet.example', 'n1'])
  await two.settled(service.client)
  two.cut('remote-server-timeout')
  const nurse = await two.capulet.client('nurse')
  nurse.send(chat(JULIET, '2'))
  await nurse.ping()
  two.mend()
  assert.equal((await service.next()).node, 'n1')
})
