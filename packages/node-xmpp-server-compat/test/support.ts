/** Servers of this package, and clients of xmpp.js to talk to them. */
import { createHash } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import type { TestContext } from 'node:test'
import { client } from '@xmpp/client'
import { header, Wire } from '../../../test/support/wire.ts'
import { C2SServer, type C2SServerOptions, type C2SStream as Session, type User } from '../src/index.ts'

export { xml } from '@xmpp/client'
export { header, Wire }

export const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
export const BIND = 'urn:ietf:params:xml:ns:xmpp-bind'

/** What clients and servers hand to each other in these tests. */
export interface El {
  name: string
  attrs: Record<string, string>
  is(name: string, xmlns?: string): boolean
  getChild(name: string, xmlns?: string): El | undefined
  getChildText(name: string): string | null
  text(): string
}

export interface Serving {
  server: C2SServer
  port: number
}

/**
 * A server that lets in whoever has the password `secret`, and ends with the test.
 *
 * @param onClient is told of each session, before anything is heard of it
 */
export async function serve(
  t: TestContext,
  onClient: (session: Session) => void = () => {},
  options: C2SServerOptions = {},
): Promise<Serving> {
  const server = new C2SServer({ port: 0, host: '127.0.0.1', domain: 'localhost', ...options })
  server.on('connect', session => {
    const own = session as Session
    onClient(own)
    if (own.listenerCount('authenticate') === 0) own.on('authenticate', secretOnly)
  })
  await once(server, 'online')
  t.after(() => server.end())
  return { server, port: server.port }
}

export function secretOnly(user: User, callback: (error?: unknown, user?: unknown) => void): void {
  if (user.password === 'secret') callback(null, user)
  else callback(new Error('wrong password'))
}

export interface BotOptions {
  username?: string
  password?: string
  resource?: string
  mechanism?: string
}

/** A client of xmpp.js. It ends with the test. */
export async function bot(t: TestContext, { port }: Serving, options: BotOptions = {}) {
  const { username = 'alice', password = 'secret', resource, mechanism = 'PLAIN' } = options
  const xmpp = client({
    service: `xmpp://127.0.0.1:${port}`,
    domain: 'localhost',
    // By itself it sends no password in the clear.
    credentials: authenticate => authenticate({ username, password }, mechanism),
    resource,
  })
  const messages = new EventEmitter<{ message: [El] }>()
  const errors: Error[] = []
  xmpp.on('error', (error: Error) => errors.push(error))
  xmpp.on('stanza', (el: El) => el.is('message') && messages.emit('message', el))
  const reconnect = (xmpp as unknown as { reconnect: { stop(): void } }).reconnect
  reconnect.stop()
  t.after(() => xmpp.stop())
  return { xmpp, errors, message: () => once(messages, 'message').then(([el]) => el as El) }
}

/** A connection on which a test says each byte, as far as the features. */
export async function open(port: number, to = 'localhost'): Promise<Wire> {
  const wire = await Wire.connect(port)
  wire.write(header(to))
  await wire.until(/<\/stream:features>/)
  return wire
}

export function plain(user: string, password: string): string {
  return Buffer.from(`\0${user}\0${password}`).toString('base64')
}

export function auth(mechanism: string, text = ''): string {
  return `<auth xmlns='${SASL}' mechanism='${mechanism}'>${text}</auth>`
}

/** Logs in and binds on a wire; answers with the address. */
export async function session(wire: Wire, user = 'alice', resource = 'home'): Promise<string> {
  wire.write(auth('PLAIN', plain(user, 'secret')))
  await wire.until(/<success[^>]*>/)
  wire.write(header())
  await wire.until(/<\/stream:features>/)
  wire.write(`<iq type='set' id='b'><bind xmlns='${BIND}'><resource>${resource}</resource></bind></iq>`)
  const answer = await wire.until(/<jid>[^<]*<\/jid>/)
  return /<jid>([^<]*)/.exec(answer)![1]!
}

/** A component that has shown that it knows its secret. */
export async function component(port: number, name: string, secret: string): Promise<Wire> {
  const wire = await Wire.connect(port)
  wire.write(header(name, '', 'jabber:component:accept'))
  await handshake(wire, secret)
  await wire.until(/<handshake\/>/)
  return wire
}

/** Answers the header of the server (XEP-0114 3). */
export async function handshake(wire: Wire, secret: string): Promise<void> {
  const [, id] = /id='([^']+)'/.exec(await wire.until(/<stream:stream[^>]*>/))!
  wire.write(`<handshake>${createHash('sha1').update(`${id}${secret}`).digest('hex')}</handshake>`)
}
