/** Conversations about XEP-0198 resumption: romeo writes, juliet gets and does not acknowledge unless a test says so. */
import type { TestContext } from 'node:test'
import type { RawClient } from './rawclient.ts'
import { child, type XmlElement } from './rawxml.ts'
import { available, serve } from './talk.ts'
import type { TestServer } from './testserver.ts'
import { eventually } from './waiting.ts'

export const NS = 'urn:xmpp:sm:3'
export const JULIET = 'juliet@localhost/balcony'
export const isSm = (name: string) => (el: XmlElement) => el.ns === NS && el.name === name
export const bodyOf = (el: XmlElement) => child(el, 'body')?.text

export async function managed(server: TestServer, user: string, resource?: string): Promise<RawClient> {
  const client = await server.client(user, { resource })
  await client.enable()
  await available(client)
  return client
}

/** A connection that is logged in and has no session. */
export async function authenticated(server: TestServer, user = 'juliet'): Promise<RawClient> {
  const client = await server.connect()
  await client.login({ user, password: 'secret' })
  return client
}

export async function detached(server: TestServer, jid = JULIET): Promise<void> {
  const at = server.server.host('localhost')!
  await eventually(() => [...at.sessions()].some(s => s.jid.toString() === jid && !s.connected), `${jid} detached`)
}

export function say(client: RawClient, ...bodies: string[]): void {
  for (const body of bodies)
    client.send(`<message to='${JULIET}' type='chat' id='${body}'><body>${body}</body></message>`)
}

/** The bodies of the next messages that come, until the one that ends with `last`. */
export async function bodies(client: RawClient, last: string): Promise<string[]> {
  const got: string[] = []
  for (;;) {
    const el = await client.receive(e => e.name === 'message' && bodyOf(e) !== undefined)
    got.push(bodyOf(el)!)
    if (got.at(-1) === last) return got
  }
}

/** Romeo, and juliet who gets and does not acknowledge. */
export async function couple(t: TestContext, options: Parameters<typeof serve>[1] = {}) {
  const server = await serve(t, options)
  const romeo = await managed(server, 'romeo', 'orchard')
  const juliet = await managed(server, 'juliet', 'balcony')
  juliet.options.autoAck = false
  juliet.ack()
  return { server, romeo, juliet }
}

export async function failed(client: RawClient, previd: string, h: number | string = 0): Promise<XmlElement> {
  client.write(`<resume xmlns='${NS}' previd='${previd}' h='${h}'/>`)
  return client.receive(isSm('failed'))
}
