import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { query } from '../support/archive.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { available, copied, copyOf, says } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { TwoServers } from '../support/twoservers.ts'
import { eventually } from '../support/waiting.ts'

const [ROMEO, JULIET] = ['romeo@montague.example', 'juliet@capulet.example']
const CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"

async function online(server: TestServer, user: string, resource = 'one'): Promise<RawClient> {
  const client = await server.client(user, { resource })
  await available(client)
  return client
}

async function lovers(t: TestContext) {
  const two = await TwoServers.start(t)
  return { two, romeo: await online(two.montague, 'romeo'), juliet: await online(two.capulet, 'juliet') }
}

function chat(to: string, body: string, more = ''): string {
  return `<message to='${to}' type='chat' id='${body}'><body>${body}</body>${more}</message>`
}

const isError = (el: XmlElement): boolean => el.attrs['type'] === 'error'
const ids = (el: XmlElement) => el.children.filter(({ name }) => name === 'stanza-id').map(({ attrs }) => attrs['by'])

test('to an address, to one of its clients, to one that has gone: in order, with an id of the recipient’s account alone', async t => {
  const { romeo, juliet } = await lovers(t)
  for (const [n, to] of [JULIET, juliet.jid, `${JULIET}/gone`, JULIET].entries()) romeo.send(chat(to, String(n)))
  const got: (string | undefined)[] = []
  for (let n = 0; n < 4; n++) {
    const message = await juliet.receive(el => child(el, 'body') !== undefined)
    got.push(child(message, 'body')?.text)
    assert.equal(message.attrs['from'], romeo.jid)
    assert.deepEqual(ids(message), [JULIET])
  }
  assert.deepEqual(got, ['0', '1', '2', '3'])
})

test('what comes while the recipient is away waits, and says since when', async t => {
  const { two, romeo, juliet } = await lovers(t)
  await juliet.close()
  romeo.send(chat(JULIET, 'later'))
  await two.settled(romeo)
  await two.restart('capulet')
  const again = await online(two.capulet, 'juliet')
  const message = await again.receive(says('later'))
  assert.equal(child(message, 'delay', 'urn:xmpp:delay')?.attrs['from'], 'capulet.example')
})

test('errors come back to the client that sent, whether the account, the client or the server is not there', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const tab = await online(two.montague, 'romeo', 'two')
  await tab.request('set', CARBONS)
  const send = async (to: string, type: string): Promise<string> => {
    romeo.send(`<message to='${to}' type='${type}' id='e'><body>x</body></message>`)
    const error = await romeo.receive(el => isError(el) && el.attrs['id'] === 'e')
    assert.deepEqual([error.attrs['from'], child(error, 'body')?.text], [to, 'x'])
    return errorCondition(error)
  }
  assert.equal(await send('nobody@capulet.example', 'chat'), 'service-unavailable')
  assert.equal(await send(`${JULIET}/gone`, 'normal'), 'service-unavailable')
  assert.equal(await send(JULIET, 'groupchat'), 'service-unavailable')
  assert.equal(await send('capulet.example', 'normal'), 'service-unavailable')
  assert.equal(await send('paris@nowhere.example', 'chat'), 'remote-server-not-found')
  await two.nothing(tab, el => isError(el) && child(el, 'received') === undefined, romeo)
  // What nobody answers.
  for (const type of ['headline', 'error']) {
    romeo.send(`<message to='nobody@capulet.example' type='${type}' id='n'><body>x</body></message>`)
  }
  await two.nothing(romeo, isError)
  assert.equal(juliet.closed, false)
})

test('what one client sends to somebody elsewhere the others see, with its id in the archive, which leaves with no copy', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const tab = await online(two.montague, 'romeo', 'two')
  await tab.request('set', CARBONS)
  romeo.send(chat(JULIET, 'hark'))
  const copy = copied(await tab.receive(copyOf('sent', 'hark')), 'sent')!
  assert.deepEqual(ids(copy), [ROMEO])
  assert.deepEqual(ids(await juliet.receive(says('hark'))), [JULIET])
  juliet.send(chat(romeo.jid, 'ay me'))
  const received = copied(await tab.receive(copyOf('received', 'ay me')), 'received')!
  assert.deepEqual(ids(received), [ROMEO])
  const { results, bodies } = await query(tab, { with: JULIET })
  assert.deepEqual(bodies, ['hark', 'ay me'])
  assert.deepEqual(
    [copy, received].map(el => child(el, 'stanza-id')!.attrs['id']),
    results.map(({ id }) => id),
  )
  assert.deepEqual((await query(juliet, { with: ROMEO })).bodies, ['hark', 'ay me'])
})

test('receipts, markers, chat states and corrections come across as they are', async t => {
  const { two, romeo, juliet } = await lovers(t)
  romeo.send(chat(JULIET, 'q', "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"))
  await juliet.receive(says('q'))
  for (const content of [
    "<received xmlns='urn:xmpp:receipts' id='q'/>",
    "<displayed xmlns='urn:xmpp:chat-markers:0' id='q'/>",
    "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
    "<replace xmlns='urn:xmpp:message-correct:0' id='q'/>",
  ]) {
    juliet.send(`<message to='${romeo.jid}' type='chat'>${content}</message>`)
    await romeo.receive(el => el.children.some(({ name }) => content.startsWith(`<${name} `)))
  }
  // Who is away is told of the receipt later, and not of the chat state.
  await romeo.close()
  juliet.send(`<message to='${ROMEO}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>`)
  juliet.send(`<message to='${ROMEO}' type='chat'><received xmlns='urn:xmpp:receipts' id='q'/></message>`)
  await two.settled(juliet)
  const again = await online(two.montague, 'romeo')
  await again.receive(el => child(el, 'received', 'urn:xmpp:receipts') !== undefined)
  await two.nothing(again, el => child(el, 'composing') !== undefined)
})

const FORGED: Readonly<Record<string, string>> = {
  'an id of the account': `<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='${JULIET}'/>`,
  'an id of the host': "<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='capulet.example'/>",
  'an id of the account, written in another way': `<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by=' ${JULIET.toUpperCase()}/x '/>`,
  'a delay of the host': "<delay xmlns='urn:xmpp:delay' from='capulet.example' stamp='2002-09-10T23:08:25Z'/>",
  'a delay of the account': `<delay xmlns='urn:xmpp:delay' from='${JULIET}' stamp='2002-09-10T23:08:25Z'/>`,
  'an old delay of the host': "<x xmlns='jabber:x:delay' from='capulet.example' stamp='20020910T23:08:25'/>",
  'a carbon copy of what she sent': `<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='${JULIET}/one' to='${ROMEO}'><body>No</body></message></forwarded></sent>`,
  'a carbon copy of what she got': `<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='${ROMEO}' to='${JULIET}'><body>No</body></message></forwarded></received>`,
  'an answer of an archive':
    "<result xmlns='urn:xmpp:mam:2' id='1' queryid='q'><forwarded xmlns='urn:xmpp:forward:0'/></result>",
  'an answer of an inbox': `<entry xmlns='urn:xmpp:inbox:1' jid='${ROMEO}' unread='1' id='1'/>`,
}

test('a peer says nothing in the name of the server or the account', async t => {
  const { two, juliet } = await lovers(t)
  for (const [what, element] of Object.entries(FORGED)) {
    for (const to of [JULIET, juliet.jid]) {
      two.send(
        `<message from='${ROMEO}/x' to='${to}' type='chat'><body>${what}</body>${element}<keep xmlns='urn:x'/></message>`,
      )
      const { children } = await juliet.receive(says(what))
      assert.deepEqual(
        children.map(({ name, attrs }) => [name, attrs['id'] === 'forged']),
        [
          ['body', false],
          ['keep', false],
          ['stanza-id', false],
        ],
        what,
      )
    }
  }
  const { results } = await query(juliet)
  assert.deepEqual(
    new Set(results.map(({ message }) => message.children.map(({ name }) => name).join())),
    new Set(['body,keep,stanza-id']),
  )
})

test('a peer says of itself what it likes: when it delayed a message, and by which id it knows it', async t => {
  const { two, juliet } = await lovers(t)
  const own = `<stanza-id xmlns='urn:xmpp:sid:0' id='hers' by='${ROMEO}'/><delay xmlns='urn:xmpp:delay' from='montague.example' stamp='2002-09-10T23:08:25Z'/>`
  two.send(`<message from='${ROMEO}/x' to='${JULIET}' type='chat'><body>old</body>${own}</message>`)
  const message = await juliet.receive(says('old'))
  assert.deepEqual(ids(message), [ROMEO, JULIET])
  assert.equal(child(message, 'delay')?.attrs['from'], 'montague.example')
})

test('a peer pushes no roster and no block list to a client, and reaches no session that way', async t => {
  const { two, juliet } = await lovers(t)
  const came = two.arrivals('montague')
  for (const [n, payload] of [
    "<query xmlns='jabber:iq:roster'><item jid='tybalt@montague.example' subscription='both'/></query>",
    "<block xmlns='urn:xmpp:blocking'><item jid='romeo@montague.example'/></block>",
    "<unblock xmlns='urn:xmpp:blocking'/>",
  ].entries()) {
    for (const to of [juliet.jid, JULIET, `${JULIET}/gone`]) {
      two.send(`<iq from='${ROMEO}/x' to='${to}' type='set' id='p${n}'>${payload}</iq>`)
    }
  }
  await two.nothing(juliet, el => el.attrs['type'] === 'set')
  assert.deepEqual(
    came.filter(line => line.includes(`${ROMEO}/x`)).map(line => line.split(' ')[1]),
    Array.from({ length: 9 }, () => 'error'),
  )
})

const STATES = 'urn:hermod:message-states:0'

async function states(client: RawClient, to: string, ...ids: string[]): Promise<(string | undefined)[]> {
  const list = ids.map(id => `<message id='${id}'/>`).join('')
  const iq = await client.request('get', `<states xmlns='${STATES}' with='${to}'>${list}</states>`)
  return child(iq, 'states')!.children.map(({ attrs }) => attrs['state'])
}

/** Until juliet's server has acknowledged a message. */
function accepted(client: RawClient, id: string): Promise<boolean> {
  return eventually(async () => (await states(client, JULIET, id))[0] === 'accepted', `${id} is accepted`)
}

const receipt = (to: string, id: string) =>
  `<message to='${to}' type='chat'><received xmlns='urn:xmpp:receipts' id='${id}'/></message>`
const marker = (to: string, id: string) =>
  `<message to='${to}' type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='${id}'/></message>`

test('what became of a message: it waits for a peer, the peer has it, a client has it, it was read', async t => {
  const { two, romeo, juliet } = await lovers(t)
  two.cut('remote-server-timeout')
  for (const id of ['a', 'b', 'c']) romeo.send(chat(JULIET, id))
  assert.deepEqual(await states(romeo, JULIET, 'a', 'c', 'never'), ['queued', 'queued', 'unknown'])
  two.mend()
  await juliet.receive(says('c'))
  await accepted(romeo, 'c')
  assert.deepEqual(await states(romeo, JULIET, 'a', 'b', 'c'), ['accepted', 'accepted', 'accepted'])
  juliet.send(receipt(romeo.jid, 'c'))
  await romeo.receive(el => child(el, 'received') !== undefined)
  juliet.send(marker(romeo.jid, 'b'))
  await romeo.receive(el => child(el, 'displayed') !== undefined)
  assert.deepEqual(await states(romeo, JULIET, 'a', 'b', 'c'), ['read', 'read', 'delivered'])
  await two.restart('montague')
  const again = await online(two.montague, 'romeo')
  assert.deepEqual(await states(again, JULIET, 'a', 'b', 'c'), ['read', 'read', 'delivered'])
  const [row] = await two.montague.command<Record<string, unknown>[]>('sent_message_status', {
    account: ROMEO,
    to: JULIET,
    id: 'c',
  })
  assert.deepEqual([row!['state'], row!['resource']], ['delivered', 'one'])
  // Without ids: all, the newest first.
  assert.deepEqual(await states(again, JULIET), ['delivered', 'read', 'read'])
})

test('a message that its recipient’s server never took has failed, and its sender is told', async t => {
  const { two, romeo } = await lovers(t)
  two.cut('remote-server-timeout')
  romeo.send(chat(JULIET, 'late'))
  await romeo.ping()
  two.giveUp()
  const error = await romeo.receive(el => isError(el) && el.attrs['id'] === 'late')
  assert.equal(errorCondition(error), 'remote-server-timeout')
  two.mend()
  romeo.send(chat(JULIET, 'next'))
  await accepted(romeo, 'next')
  two.send(
    `<message from='${JULIET}/one' to='${romeo.jid}'><displayed xmlns='urn:xmpp:chat-markers:0' id='next'/></message>`,
  )
  await romeo.receive(el => child(el, 'displayed') !== undefined)
  assert.deepEqual(await states(romeo, JULIET, 'late', 'next'), ['failed', 'read'])
})

test('that a message was never taken is told to whichever client there is, or comes next; and it is no message', async t => {
  const { two, romeo, juliet } = await lovers(t)
  two.cut('remote-server-timeout')
  for (const id of ['one', 'two']) romeo.send(chat(juliet.jid, id))
  const tab = await online(two.montague, 'romeo', 'two')
  romeo.send(chat(JULIET, 'three'))
  await romeo.ping()
  await romeo.close()
  two.giveUp()
  for (const id of ['one', 'two', 'three']) await tab.receive(el => isError(el) && el.attrs['id'] === id)
  tab.send(chat(JULIET, 'four'))
  await tab.ping()
  await tab.close()
  two.giveUp()
  await two.restart('montague')
  const phone = await online(two.montague, 'romeo', 'phone')
  const late = await phone.receive(el => isError(el) && el.attrs['id'] === 'four')
  assert.deepEqual([late.attrs['from'], errorCondition(late)], [JULIET, 'remote-server-timeout'])
  const { bodies } = await query(phone, { with: JULIET })
  assert.deepEqual(bodies, ['one', 'two', 'three', 'four'], 'what was sent, once')
  const from = await phone.request('get', `<states xmlns='${STATES}' from='${JULIET}'/>`)
  assert.deepEqual(child(from, 'states')!.children, [])
})

test('a receipt or a marker may come before the peer has acknowledged the message', async t => {
  const { two, romeo } = await lovers(t)
  const host = two.montague.server.host('montague.example')!
  for (const [id, said] of [
    ['r', "<received xmlns='urn:xmpp:receipts' id='r'/>"],
    ['d', "<displayed xmlns='urn:xmpp:chat-markers:0' id='d'/>"],
  ] as const) {
    two.send(`<message from='${JULIET}/one' to='${ROMEO}' type='chat'>${said}</message>`)
    await romeo.receive(el => el.children.some(({ attrs }) => attrs['id'] === id))
    const about = { from: ROMEO, to: JULIET, messageId: id }
    host.hooks.notify('peer_message_accepted', {
      id: host.ids.ordered(),
      about,
      local: host.name,
      remote: 'capulet.example',
    })
  }
  assert.deepEqual(await states(romeo, JULIET, 'r', 'd'), ['read', 'read'])
})

test('nobody says for others that a message was read, or that it reached them; nobody learns what others sent', async t => {
  const { two, romeo, juliet } = await lovers(t)
  romeo.send(chat(JULIET, 'secret'))
  await juliet.receive(says('secret'))
  await accepted(romeo, 'secret')
  for (const from of ['nurse@capulet.example/x', 'juliet@verona.example/x']) {
    for (const said of [
      "<received xmlns='urn:xmpp:receipts' id='secret'/>",
      "<displayed xmlns='urn:xmpp:chat-markers:0' id='secret'/>",
    ]) {
      two.send(`<message from='${from}' to='${ROMEO}' type='chat'>${said}</message>`)
    }
  }
  await two.settled(romeo)
  assert.deepEqual(await states(romeo, JULIET, 'secret'), ['accepted'])
  const tybalt = await online(two.montague, 'tybalt')
  assert.deepEqual(await states(tybalt, JULIET, 'secret'), ['unknown'])
  const namesake = await two.capulet.client('romeo')
  assert.deepEqual(await states(namesake, JULIET, 'secret'), ['unknown'])
})

test('with an account goes what is known of the messages that it has sent', async t => {
  const { two, romeo, juliet } = await lovers(t)
  romeo.send(chat(JULIET, 'first'))
  await juliet.receive(says('first'))
  juliet.send(marker(ROMEO, 'first'))
  await romeo.receive(el => child(el, 'displayed') !== undefined)
  await two.settled(romeo)
  const host = two.montague.server.host('montague.example')!
  const before = host.ids.ordered()
  await host.removeAccount('romeo')
  const other = await online(two.montague, 'romeo')
  // Its server may have had it before, and acknowledged it since.
  const about = { from: ROMEO, to: JULIET, messageId: 'first' }
  host.hooks.notify('peer_message_accepted', { id: before, about, local: host.name, remote: 'capulet.example' })
  assert.deepEqual(await states(other, JULIET, 'first'), ['unknown'])
  assert.deepEqual(await states(other, JULIET), [])
  other.send(chat(JULIET, 'second'))
  await accepted(other, 'second')
})
