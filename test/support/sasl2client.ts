/** SASL2 (XEP-0388) for tests: what a client says to log in with everything in one exchange, and what it is answered. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import type { TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import type { SaslExchange, SaslResult } from '../../src/auth/exchange.ts'
import { serverEndPoint } from '../../src/net/channelbinding.ts'
import { NS_SM, RawClient } from './rawclient.ts'
import { child, type XmlElement } from './rawxml.ts'
import { type ClientOptions, scramClient } from './scram.ts'
import { serve } from './talk.ts'
import { type TestOptions, type TestServer, testModule } from './testserver.ts'

export const SASL2 = 'urn:xmpp:sasl:2'
export const BIND2 = 'urn:xmpp:bind:0'
export const FAST = 'urn:xmpp:fast:0'
export const UPGRADE = 'urn:xmpp:sasl:upgrade:0'
export const SCRAM_UPGRADE = 'urn:xmpp:scram-upgrade:0'
export const PHONE = 'd4565fa7-4d72-4749-b3d3-740edbf87770'
export const DESK = '00000000-1111-4222-8333-444444444444'

export const base64 = (data: string | Uint8Array): string => Buffer.from(data).toString('base64')
export const plain = (user: string, password = 'secret', authzid = ''): string =>
  base64(`${authzid}\0${user}\0${password}`)
export const agent = (id = PHONE, software = 'Talkative', device = 'Phone'): string =>
  `<user-agent id='${id}'><software>${software}</software><device>${device}</device></user-agent>`
export const bind = (inner = '', tag = 'Talkative'): string => `<bind xmlns='${BIND2}'><tag>${tag}</tag>${inner}</bind>`
export const requestToken = (mechanism = 'HT-SHA-256-NONE'): string =>
  `<request-token xmlns='${FAST}' mechanism='${mechanism}'/>`
export const enable = `<enable xmlns='${NS_SM}' resume='true'/>`

/** A connection over TLS that says who it is from. */
export async function dial(t: TestContext, server: TestServer, from?: string): Promise<RawClient> {
  const sender = from === undefined ? {} : { from: from.includes('@') ? from : server.jid(from) }
  const client = await RawClient.connect({ port: server.port, domain: server.host, tls: 'starttls', ...sender })
  t.after(() => client.cut())
  return client
}

export function authenticate(mechanism: string, initial: string | undefined, inner = ''): string {
  const response = initial === undefined ? '' : `<initial-response>${initial}</initial-response>`
  return `<authenticate xmlns='${SASL2}' mechanism='${mechanism}'>${response}${inner}</authenticate>`
}

const isSasl2 = (el: XmlElement): boolean => el.ns === SASL2

/** The next element of the login. */
export function answer(client: RawClient): Promise<XmlElement> {
  return client.receive(isSasl2)
}

/** The condition of a failure, or the name of what came in its place. */
export function outcome(el: XmlElement): string {
  return el.name === 'failure' ? (el.children[0]?.name ?? '') : el.name
}

/** Sends a login, and from its success on counts and knows its address as a client does. */
export async function logIn(client: RawClient, mechanism: string, initial: string, inner = ''): Promise<XmlElement> {
  client.on('element', function begin(el) {
    if (el.ns !== SASL2 || el.name === 'challenge') return
    client.off('element', begin)
    client.jid = child(el, 'authorization-identifier')?.text ?? ''
    const enabled = child(child(el, 'bound', BIND2), 'enabled', NS_SM)
    if (enabled === undefined) return
    const id = enabled.attrs['id'] ?? ''
    client.sm = { id, resumable: id !== '', handled: 0, told: 0, acked: 0, unacked: [] }
    client['enabled'] = true
  })
  client.write(authenticate(mechanism, initial, inner))
  return answer(client)
}

/** Logs in by password with whatever else is asked for; the success, or an error with the condition. */
export async function byPassword(client: RawClient, user: string, inner = ''): Promise<XmlElement> {
  const el = await logIn(client, 'PLAIN', plain(user), inner)
  if (el.name !== 'success') throw new Error(`SASL2: ${outcome(el)}`)
  return el
}

/** The token in a success. */
export function tokenOf(success: XmlElement): string | undefined {
  return child(success, 'token', FAST)?.attrs['token']
}

/** Node tells a client the server's certificate only once. */
const endPoints = new WeakMap<TLSSocket, Buffer>()

export function bindingOf(client: RawClient, type: string): Buffer {
  const socket = client['socket'] as TLSSocket
  if (type === 'tls-exporter') return socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
  const known = endPoints.get(socket) ?? serverEndPoint(socket.getPeerX509Certificate()!)!
  endPoints.set(socket, known)
  return known
}

const HT_BINDING: Record<string, string> = { EXPR: 'tls-exporter', ENDP: 'tls-server-end-point' }

/** What HT sends and what it expects to be answered, for a token. */
export function ht(client: RawClient, mechanism: string, user: string, token: string) {
  const type = HT_BINDING[mechanism.slice(-4)]
  const binding = type === undefined ? Buffer.alloc(0) : bindingOf(client, type)
  const mac = (who: string): Buffer => createHmac('sha256', token).update(who).update(binding).digest()
  return {
    initial: base64(Buffer.concat([Buffer.from(`${user}\0`), mac('Initiator')])),
    proof: base64(mac('Responder')),
  }
}

/** Logs in by a token; the success or the failure. */
export async function byToken(
  client: RawClient,
  user: string,
  token: string,
  { mechanism = 'HT-SHA-256-NONE', id = PHONE, fast = '', inner = '' } = {},
): Promise<XmlElement> {
  const { initial } = ht(client, mechanism, user, token)
  return logIn(client, mechanism, initial, `${agent(id)}<fast xmlns='${FAST}' ${fast}/>${inner}`)
}

/** The server's end of an exchange, over SASL2; the last element that came is in `last`. */
export function overSasl2(client: RawClient, mechanism: string, inner = ''): SaslExchange & { last?: XmlElement } {
  let begun = false
  return {
    async step(input): Promise<SaslResult> {
      const text = base64(input ?? '')
      client.write(begun ? `<response xmlns='${SASL2}'>${text}</response>` : authenticate(mechanism, text, inner))
      begun = true
      const el = await answer(client)
      this.last = el
      if (el.name === 'challenge') return { challenge: Buffer.from(el.text, 'base64') }
      const data = Buffer.from(child(el, 'additional-data')?.text ?? '', 'base64')
      if (el.name === 'failure') return { failure: el.children[0]!.name as 'not-authorized' }
      return { success: { user: child(el, 'authorization-identifier')?.text ?? '', stamp: '', data } }
    },
  }
}

/** SaltedPassword of RFC 5802 section 3. */
export function salted(hash: 'sha256' | 'sha512', password: string, salt: string, iterations: number): Buffer {
  return pbkdf2Sync(password, Buffer.from(salt, 'base64'), iterations, hash === 'sha256' ? 32 : 64, hash)
}

/** XEP-0474 3.1: what a client expects in `h=`, from the offer it saw. */
export function offerHash(client: RawClient, hash: string): string {
  const mechanisms = child(client.features, 'authentication', SASL2)!.children.filter(c => c.name === 'mechanism')
  const types = child(client.features, 'sasl-channel-binding')?.children.map(c => c.attrs['type']!) ?? []
  const names = mechanisms
    .map(m => m.text)
    .sort()
    .join('\x1e')
  return createHash(hash)
    .update(`${names}\x1f${types.sort().join('\x1e')}`)
    .digest('base64')
}

/** A server with juliet and romeo. */
export async function people(t: TestContext, options: TestOptions = {}): Promise<TestServer> {
  const server = await serve(t, options)
  await server.register('juliet', 'romeo')
  return server
}

/** The mechanisms on offer. */
export function offered(client: RawClient): string[] {
  const authentication = child(client.features, 'authentication', SASL2)
  return authentication?.children.filter(c => c.name === 'mechanism').map(c => c.text) ?? []
}

/** juliet logs in by SCRAM; `last` is the last element of it. */
export function scram(client: RawClient, mechanism: string, options: Partial<ClientOptions> = {}, inner = '') {
  const exchange = overSasl2(client, mechanism, inner)
  const run = scramClient(exchange, {
    mechanism,
    username: 'juliet',
    password: 'secret',
    nonce: Buffer.from(mechanism).toString('hex'),
    ...options,
  })
  return run.then(end => ({ ...end, last: exchange.last! }))
}

/** The mechanisms of SCRAM without channel binding, the strongest first. */
export const HASHES = ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'SCRAM-SHA-1']

/** juliet, logged in and bound in one exchange. */
export async function juliet(t: TestContext, server: TestServer, inner = '', ua = agent(), tag?: string) {
  const client = await dial(t, server, 'juliet')
  const success = await byPassword(client, 'juliet', `${ua}${bind(inner, tag)}`)
  return { client, success, bound: child(success, 'bound', BIND2)! }
}

/** The resources that juliet has. */
export function resources(server: TestServer): string[] {
  return [...(server.server.host('localhost')!.accounts.get('juliet')?.sessions.keys() ?? [])]
}

export function chat(from: RawClient, to: string, body: string): void {
  from.send(`<message to='${to}' type='chat' id='${body}'><body>${body}</body></message>`)
}

/** A module at which every bind waits: `arrived` when one does, until `gate` is resolved. */
export function slowBind() {
  const gate = Promise.withResolvers<void>()
  const arrived = Promise.withResolvers<void>()
  const slow = testModule('mod_slow', ctx => {
    ctx.hook('bind2_request', () => {
      arrived.resolve()
      return gate.promise
    })
  })
  return { slow, arrived, gate }
}
