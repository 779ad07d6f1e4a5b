import { test } from 'node:test'
import { nothing, online, says, serve } from '../support/talk.ts'

const hint = (name: string) => `<${name} xmlns='urn:xmpp:hints'/>`

test('hints decide what waits for somebody who is away', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  await server.register('bob')
  const send = (body: string, more: string, type = 'chat') =>
    alice.send(`<message to='bob@localhost' type='${type}' id='${body}'><body>${body}</body>${more}</message>`)
  send('not kept', hint('no-store'))
  send('both say', hint('no-store') + hint('store'))
  send('not archived', hint('no-permanent-store'))
  send('of an error', hint('store'), 'error')
  alice.send(
    `<message to='bob@localhost' type='chat'><active xmlns='http://jabber.org/protocol/chatstates'/>${hint('store')}</message>`,
  )
  send('last', '')
  await alice.ping()

  const [bob] = await online(server, 'bob')
  await bob.receive(says('not archived'))
  await bob.receive(el => el.children.some(c => c.ns === 'http://jabber.org/protocol/chatstates'))
  await bob.receive(says('last'))
  for (const body of ['not kept', 'both say', 'of an error']) await nothing(bob, says(body))
})
