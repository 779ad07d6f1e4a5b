import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pluck } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, refused, says, serve } from '../support/talk.ts'

const NS = 'urn:xmpp:inbox:1'

interface Line {
  jid: string
  unread: number
  body: string | undefined
}

async function inbox(client: RawClient, attrs = '', rsm = '') {
  const lines: Line[] = []
  const listen = (el: XmlElement): void => {
    const entry = child(el, 'entry', NS)
    if (entry === undefined) return
    const forwarded = child(child(el, 'result', 'urn:xmpp:mam:2'), 'forwarded')
    const body = child(child(forwarded, 'message'), 'body')?.text
    lines.push({ jid: entry.attrs['jid']!, unread: Number(entry.attrs['unread']), body })
  }
  client.on('stanza', listen)
  const iq = await client.request('get', `<inbox xmlns='${NS}' ${attrs}>${rsm}</inbox>`)
  client.off('stanza', listen)
  const { total, unread, 'all-unread': all } = child(iq, 'fin', NS)!.attrs
  return { lines, counts: [total, unread, all].map(Number) }
}

test('conversations by their last message, with what is unread', async t => {
  const server = await serve(t)
  const juliet = await server.client('juliet', { resource: 'balcony' })
  const romeo = await server.client('romeo', { resource: 'orchard' })
  const nurse = await server.client('nurse', { resource: 'hall' })
  for (const client of [juliet, romeo, nurse]) await available(client)
  let n = 0
  const tell = async (who: RawClient, whom: RawClient, body: string, more = '') => {
    who.send(`<message to='${whom.jid.split('/')[0]}' type='chat' id='i${++n}'><body>${body}</body>${more}</message>`)
    await whom.receive(says(body))
    return `i${n}`
  }
  assert.deepEqual(await inbox(juliet), { lines: [], counts: [0, 0, 0] })
  await tell(romeo, juliet, 'one')
  const two = await tell(romeo, juliet, 'two')
  await tell(nurse, juliet, 'Madam!')
  assert.deepEqual(await inbox(juliet), {
    lines: [
      { jid: 'nurse@localhost', unread: 1, body: 'Madam!' },
      { jid: 'romeo@localhost', unread: 2, body: 'two' },
    ],
    counts: [2, 2, 3],
  })
  juliet.send(
    `<message to='romeo@localhost' type='chat' id='d'><displayed xmlns='urn:xmpp:chat-markers:0' id='${two}'/></message>`,
  )
  await romeo.receive(el => child(el, 'displayed') !== undefined)
  await romeo.ping()
  await tell(juliet, nurse, 'I come, anon')
  await tell(romeo, juliet, 'three')
  const now = await inbox(juliet)
  assert.deepEqual(now, {
    lines: [
      { jid: 'romeo@localhost', unread: 1, body: 'three' },
      { jid: 'nurse@localhost', unread: 0, body: 'I come, anon' },
    ],
    counts: [2, 1, 1],
  })
  assert.deepEqual((await inbox(juliet, "unread-only='true' messages='false'")).lines, [
    { jid: 'romeo@localhost', unread: 1, body: undefined },
  ])
  const page = "<set xmlns='http://jabber.org/protocol/rsm'><max>1</max><after>romeo@localhost</after></set>"
  assert.deepEqual(pluck((await inbox(juliet, '', page)).lines, 'jid'), ['nurse@localhost'])
  assert.deepEqual((await inbox(romeo)).lines, [{ jid: 'juliet@localhost', unread: 0, body: 'three' }])
  await refused('forbidden', romeo.request('get', `<inbox xmlns='${NS}'/>`, 'juliet@localhost'))
  const nowhere = "<set xmlns='http://jabber.org/protocol/rsm'><after>tybalt@localhost</after></set>"
  await refused('item-not-found', inbox(juliet, '', nowhere))
})

test('the sender’s inbox goes by what the sender archives, not the recipient', async t => {
  const server = await serve(t)
  const juliet = await server.client('juliet', { resource: 'balcony' })
  const romeo = await server.client('romeo', { resource: 'orchard' })
  for (const client of [juliet, romeo]) await available(client)
  const prefs = (client: RawClient, def: string) =>
    client.request('set', `<prefs xmlns='urn:xmpp:mam:2' default='${def}'><always/><never/></prefs>`)
  const tell = async (body: string) => {
    romeo.send(`<message to='juliet@localhost' type='chat' id='${body}'><body>${body}</body></message>`)
    await juliet.receive(says(body))
  }
  await prefs(romeo, 'never')
  await tell('one')
  assert.deepEqual((await inbox(romeo)).lines, [])
  await prefs(romeo, 'always')
  await prefs(juliet, 'never')
  await tell('two')
  assert.deepEqual((await inbox(romeo)).lines, [{ jid: 'juliet@localhost', unread: 0, body: 'two' }])
  assert.deepEqual(pluck((await inbox(juliet)).lines, 'body'), ['one'])
})
