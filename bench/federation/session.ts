/** Sessions that cost as little as they can: what comes is looked at as bytes. */
import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import type { ServerProcess } from '../../test/support/launched.ts'
import { COMPONENT, PORTS } from '../../test/support/peers/peer.ts'
import { RawClient } from '../../test/support/rawclient.ts'
import { header, Wire } from '../../test/support/wire.ts'

const PASSWORD = 'secret'
const AT_ONCE = 20
const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
export const FEATURES = /<stream:features\b.*<\/stream:features>/s

/** A connection that is logged in, ready to be used. */
export interface Session {
  readonly jid: string
  readonly socket: Socket
}

/** Accounts user0, user1 and so on. */
export async function register({ ip, port, domain }: ServerProcess, count: number): Promise<void> {
  await each(count, i => RawClient.register({ host: ip, port, domain }, `user${i}`, PASSWORD))
}

/** All of them, available, over STARTTLS unless `plain`. */
export async function logIn(server: ServerProcess, count: number, plain = false): Promise<Session[]> {
  const sessions: Session[] = []
  await each(count, async i => {
    sessions[i] = await session(server, `user${i}`, plain)
  })
  return sessions
}

async function session({ ip, port, domain }: ServerProcess, user: string, plain: boolean): Promise<Session> {
  const wire = await Wire.connect(port, ip)
  const open = async (): Promise<void> => {
    wire.write(header(domain))
    await wire.until(FEATURES)
  }
  await open()
  if (!plain) {
    wire.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    await wire.until(/<proceed[^>]*>/)
    await wire.encrypt(domain)
    await open()
  }
  const login = Buffer.from(`\0${user}\0${PASSWORD}`).toString('base64')
  wire.write(`<auth xmlns='${NS_SASL}' mechanism='PLAIN'>${login}</auth>`)
  await wire.until(/<success[^>]*>/)
  await open()
  wire.write(
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind></iq>",
  )
  const jid = /<jid>([^<]+)<\/jid>/.exec(await wire.until(/<\/iq>/))![1]!
  wire.write(`<presence/><iq type='get' id='p' to='${domain}'><ping xmlns='urn:xmpp:ping'/></iq>`)
  await wire.until(/<iq [^>]*id=['"]p['"][^>]*>/)
  return { jid, socket: taken(wire) }
}

/** The server's component, logged in (XEP-0114). */
export async function component({ ip, domain }: ServerProcess): Promise<Session> {
  const jid = `${COMPONENT.name}.${domain}`
  const wire = await Wire.connect(PORTS.components, ip)
  wire.write(header(jid, '', 'jabber:component:accept'))
  const id = / id=['"]([^'"]+)['"]/.exec(await wire.until(/<stream:stream[^>]*>/))![1]!
  const hash = createHash('sha1')
    .update(id + COMPONENT.secret)
    .digest('hex')
  wire.write(`<handshake>${hash}</handshake>`)
  await wire.until(/<handshake[^>]*>/)
  return { jid, socket: taken(wire) }
}

/** What comes from now on is for who has the socket. */
function taken(wire: Wire): Socket {
  wire.socket.removeAllListeners('data')
  return wire.socket
}

/** Does it for each number below, a few at a time. */
export async function each(count: number, work: (i: number) => Promise<void>, atOnce = AT_ONCE): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

const TEXT = 'The quick brown fox jumps over the lazy dog, and then does it all again for as long as it is '
const DIGITS = 8

/** A message as clients send it, of about 380 bytes; its text ends in a number. */
export function message(to: string, number: number, id: string): string {
  const digits = String(number).padStart(DIGITS, '0')
  return `<message xml:lang='en' type='chat' to='${to}' id='${id}${digits}'><body>${TEXT}#${digits}</body><request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/><origin-id xmlns='urn:xmpp:sid:0' id='${id}${digits}'/></message>`
}

const BODY_END = Buffer.from('</body>')
const STANZA_ENDS = ['</message>', '</iq>'].map(text => Buffer.from(text))
const PING = Buffer.from('urn:xmpp:ping')

/** Calls with the number of each message that comes; pings are answered. */
export function onNumber(socket: Socket, take: (number: number) => void): void {
  let held: Buffer | undefined
  socket.on('data', (chunk: Buffer) => {
    const all = held === undefined ? chunk : Buffer.concat([held, chunk])
    const whole = Math.max(...STANZA_ENDS.map(end => endOf(all, end)))
    held = all.subarray(whole)
    const data = all.subarray(0, whole)
    for (let at = data.indexOf(BODY_END); at >= 0; at = data.indexOf(BODY_END, at + 1)) {
      if (data[at - DIGITS - 1] === 0x23) take(Number(data.toString('latin1', at - DIGITS, at)))
    }
    if (data.includes(PING)) socket.write(pongs(data.toString()))
  })
}

/** Where the last of them ends. */
function endOf(data: Buffer, end: Buffer): number {
  const at = data.lastIndexOf(end)
  return at < 0 ? 0 : at + end.length
}

/** Answers to the pings in it. */
export function pongs(text: string): string {
  const pings = [...text.matchAll(/<iq [^>]*>(?=<ping)/g)].map(([head]) => head)
  const result = (head: string): string =>
    `<iq type='result' id='${attribute(head, 'id')}' from='${attribute(head, 'to')}' to='${attribute(head, 'from')}'/>`
  return pings.map(result).join('')
}

/** An attribute of the first tag of a stanza. */
export function attribute(stanza: string, name: string): string {
  return new RegExp(` ${name}=(['"])(.*?)\\1`).exec(stanza.slice(0, stanza.indexOf('>')))?.[2] ?? ''
}
