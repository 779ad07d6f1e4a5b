/** Small words for conversations between test clients. */
import assert from 'node:assert/strict'
import type { RawClient } from './rawclient.ts'
import { child, type XmlElement } from './rawxml.ts'
import { type TestOptions, TestServer } from './testserver.ts'

export type Matches = (el: XmlElement) => boolean

/** A message with this body, not one that carries a copy of it. */
export function says(body: string): Matches {
  return el => el.name === 'message' && child(el, 'body')?.text === body
}

export function presenceFrom(from: string, type?: string): Matches {
  return el => el.name === 'presence' && el.attrs['from'] === from && el.attrs['type'] === type
}

/** The message within a carbon copy (XEP-0280) of this kind and body. */
export function copyOf(kind: 'sent' | 'received', body: string): Matches {
  return el => el.name === 'message' && child(copied(el, kind), 'body')?.text === body
}

export function copied(el: XmlElement, kind: 'sent' | 'received'): XmlElement | undefined {
  const wrapper = child(el, kind, 'urn:xmpp:carbons:2')
  return child(child(wrapper, 'forwarded', 'urn:xmpp:forward:0'), 'message', 'jabber:client')
}

/**
 * Nothing that matches has come to `client` of what `senders` have sent so far: each of them, and then the client, asks the
 * server something and has the answer.
 */
export async function nothing(client: RawClient, matches: Matches, ...senders: RawClient[]): Promise<void> {
  for (const sender of senders) await sender.ping()
  await client.ping()
  await assert.rejects(client.receive(matches, 1), /nothing that matches/, 'something came')
}

/** The iq is answered with an error of this condition. */
export async function refused(condition: string, answer: Promise<unknown>): Promise<void> {
  await assert.rejects(answer, { message: `iq error: ${condition}` })
}

/** Available, and known to be: the server has echoed the presence. */
export async function available(client: RawClient, presence = '<presence/>'): Promise<void> {
  client.send(presence)
  await client.receive(presenceFrom(client.jid))
}

/** A client of each of these users, available. */
export async function online<U extends string[]>(server: TestServer, ...users: U) {
  const clients = await server.clients(...users)
  for (const client of clients) await available(client)
  return clients
}

/** Until the connection has ended; resolves with why. */
export function closed(client: RawClient): Promise<string> {
  return client.closed ? Promise.resolve('') : new Promise(resolve => client.once('closed', resolve))
}

/** Both see each other's presence from now on. Both must be available. */
export async function befriend(one: RawClient, other: RawClient): Promise<void> {
  await subscribe(one, other)
  await subscribe(other, one)
}

async function subscribe(who: RawClient, whom: RawClient): Promise<void> {
  const [from, to] = [bare(who), bare(whom)]
  who.send(`<presence to='${to}' type='subscribe'/>`)
  await whom.receive(presenceFrom(from, 'subscribe'))
  whom.send(`<presence to='${from}' type='subscribed'/>`)
  await who.receive(presenceFrom(to, 'subscribed'))
  await who.receive(presenceFrom(whom.jid))
}

export function bare(client: RawClient): string {
  return client.jid.split('/')[0]!
}

/** A server that stops with the test, or after all tests of a file (`{ after }`), however they end. */
export async function serve(
  t: { after(stop: () => Promise<void>): void },
  options: TestOptions = {},
): Promise<TestServer> {
  const server = await TestServer.start(options)
  t.after(() => server.stop())
  return server
}
