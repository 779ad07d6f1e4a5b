/** Words for conversations about nodes (XEP-0060, XEP-0163). */
import assert from 'node:assert/strict'
import { parseElement } from '../../src/xml/index.ts'
import { verificationString } from '../../src/xmpp/caps.ts'
import type { RawClient } from './rawclient.ts'
import { child, errorCondition, type XmlElement, xmlText } from './rawxml.ts'
import { available, befriend, type Matches } from './talk.ts'
import type { TestServer } from './testserver.ts'

export const PUBSUB = 'http://jabber.org/protocol/pubsub'
export const OWNER = `${PUBSUB}#owner`
const EVENT = `${PUBSUB}#event`
const ERRORS = `${PUBSUB}#errors`
const CAPS = 'http://jabber.org/protocol/caps'
const INFO = 'http://jabber.org/protocol/disco#info'

export const pubsub = (content: string) => `<pubsub xmlns='${PUBSUB}'>${content}</pubsub>`
export const owner = (content: string) => `<pubsub xmlns='${OWNER}'>${content}</pubsub>`
export const ITEMS = (node: string, content = '', attrs = '') =>
  pubsub(`<items node='${node}' ${attrs}>${content}</items>`)

/** A submitted form with fields of `pubsub#`. */
export function form(type: string, fields: Record<string, string | readonly string[]>): string {
  const list = Object.entries(fields).map(([name, values]) => {
    const all = [values].flat().map(value => `<value>${xmlText(value)}</value>`)
    return `<field var='pubsub#${name}'>${all.join('')}</field>`
  })
  const hidden = `<field var='FORM_TYPE' type='hidden'><value>${PUBSUB}#${type}</value></field>`
  return `<x xmlns='jabber:x:data' type='submit'>${hidden}${list.join('')}</x>`
}

export function publish(
  client: RawClient,
  node: string,
  payload: string,
  id?: string,
  options?: Record<string, string | readonly string[]>,
  to?: string,
): Promise<XmlElement> {
  const item = `<item${id === undefined ? '' : ` id='${id}'`}>${payload}</item>`
  const more = options === undefined ? '' : `<publish-options>${form('publish-options', options)}</publish-options>`
  return client.request('set', pubsub(`<publish node='${node}'>${item}</publish>${more}`), to)
}

/** The ids of the items of a node, in the order of the answer. */
export async function itemIds(client: RawClient, node: string, to?: string): Promise<string[]> {
  const answer = await client.request('get', ITEMS(node), to)
  return child(answer.children[0], 'items')!.children.map(item => item.attrs['id']!)
}

/** What a notification is about: `<items/>`, `<purge/>`, `<delete/>`... */
export function event(message: XmlElement): XmlElement | undefined {
  return message.name === 'message' ? child(message, 'event', EVENT)?.children[0] : undefined
}

export function publishes(node: string, id?: string): Matches {
  return el => {
    const about = event(el)
    const [item] = about?.children ?? []
    if (about?.name !== 'items' || about.attrs['node'] !== node || item?.name !== 'item') return false
    return id === undefined || item.attrs['id'] === id
  }
}

export function retracts(node: string, id?: string): Matches {
  return el => {
    const about = event(el)
    if (about?.name !== 'items' || about.attrs['node'] !== node) return false
    return about.children.some(item => item.name === 'retract' && (id === undefined || item.attrs['id'] === id))
  }
}

/** Tells of the node in another way: `purge`, `delete`, `configuration`, `subscription`. */
export function tells(name: string, node: string): Matches {
  return el => event(el)?.name === name && event(el)?.attrs['node'] === node
}

/** The iq is refused with this condition and the one of pubsub's own: `not-allowed closed-node`. */
export async function refusal(
  conditions: string,
  client: RawClient,
  type: 'get' | 'set',
  payload: string,
  to?: string,
): Promise<void> {
  const id = `refused-${++serial}`
  client.send(`<iq type='${type}' id='${id}'${to === undefined ? '' : ` to='${to}'`}>${payload}</iq>`)
  const answer = await client.receive(el => el.name === 'iq' && el.attrs['id'] === id)
  const specific = child(answer, 'error')?.children.find(el => el.ns === ERRORS)
  assert.equal([errorCondition(answer), specific?.name].filter(Boolean).join(' '), conditions)
}
let serial = 0

export interface InterestedClient extends RawClient {
  /** Its presence with capabilities, as last sent. */
  lastPresence: string
  /** It can do something else from now on: resolves when the server knows. */
  announce(nodes: readonly string[]): Promise<void>
}

/** An available client whose capabilities say that it wants to hear of these nodes; the server knows them. */
export async function interested(
  server: TestServer,
  user: string,
  nodes: readonly string[],
  options: { resource?: string; claim?: readonly string[] } = {},
): Promise<InterestedClient> {
  return await interest(await server.client(user, options), nodes, options.claim)
}

/** Its capabilities say that it wants to hear of these nodes (or claim others): resolves when its server knows. */
export async function interest(
  who: RawClient,
  nodes: readonly string[],
  claim?: readonly string[],
): Promise<InterestedClient> {
  const client = who as InterestedClient
  let features = ''
  client.on('element', el => {
    if (el.name !== 'iq' || el.attrs['type'] !== 'get' || child(el, 'query', INFO) === undefined) return
    const { id, from } = el.attrs
    const node = child(el, 'query')!.attrs['node']!
    client.send(
      `<iq type='result' id='${id}' to='${from}'><query xmlns='${INFO}' node='${node}'>${features}</query></iq>`,
    )
  })
  client.announce = async wanted => {
    features = info(wanted)
    const ver = verification(claim ?? wanted)
    client.lastPresence = `<presence><c xmlns='${CAPS}' hash='sha-1' node='urn:client' ver='${ver}'/></presence>`
    await available(client, client.lastPresence)
    // What is asked of it, is asked before the answer to this.
    await client.ping()
    await client.ping()
  }
  await client.announce(nodes)
  return client
}

function info(nodes: readonly string[]): string {
  const identity = "<identity category='client' type='pc' name='test'/>"
  return identity + nodes.map(node => `<feature var='${node}+notify'/>`).join('')
}

function verification(nodes: readonly string[]): string {
  return verificationString(parseElement(`<query xmlns='${INFO}'>${info(nodes)}</query>`))
}

/** Two users who see each other, each with a client that wants to hear of some nodes. */
export async function friends(
  server: TestServer,
  one: [user: string, nodes: readonly string[]],
  other: [user: string, nodes: readonly string[]],
): Promise<[InterestedClient, InterestedClient]> {
  const [a, b] = [await interested(server, ...one), await interested(server, ...other)]
  await befriend(a, b)
  return [a, b]
}
