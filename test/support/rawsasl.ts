/** SASL for the raw test client: PLAIN (RFC 4616) and SCRAM without channel binding (RFC 5802, RFC 7677). */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto'
import { child, type XmlElement } from './rawxml.ts'

const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
const NS_SASL2 = 'urn:xmpp:sasl:2'

export interface Credentials {
  user: string
  password: string
  resource?: string
  /** PLAIN where offered, else the strongest SCRAM, when not given. */
  mechanism?: 'PLAIN' | 'SCRAM-SHA-1' | 'SCRAM-SHA-256'
  /** A UUID: which device it is, as one says by SASL2 (XEP-0388), over TLS. */
  device?: string
}

interface Stream {
  features: XmlElement | undefined
  write(xml: string): void
  receive(matches: (el: XmlElement) => boolean): Promise<XmlElement>
}

const base64 = (text: string): string => Buffer.from(text).toString('base64')

/** Resolves after `<success/>`; rejects with the failure's condition, or when the server's signature is wrong. */
export async function authenticate(stream: Stream, credentials: Credentials): Promise<void> {
  const offered = child(stream.features, 'mechanisms', NS_SASL)?.children.map(c => c.text) ?? []
  const known = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-1']
  const mechanism = credentials.mechanism ?? known.find(name => offered.includes(name))
  if (!mechanism) throw new Error(`no SASL mechanism in common; offered: ${offered.join(' ')}`)
  if (mechanism !== 'PLAIN') return scram(stream, mechanism, credentials)
  start(stream, mechanism, `\0${credentials.user}\0${credentials.password}`)
  await answer(stream, 'success')
}

/** XEP-0388, for its user-agent: resolves after `<success/>`, whereupon the features come on the same stream. */
export async function authenticateDevice(stream: Stream, { user, password, device }: Credentials): Promise<void> {
  const initial = `<initial-response>${base64(`\0${user}\0${password}`)}</initial-response>`
  const agent = `<user-agent id='${device}'><software>Raw</software></user-agent>`
  stream.write(`<authenticate xmlns='${NS_SASL2}' mechanism='PLAIN'>${initial}${agent}</authenticate>`)
  const el = await stream.receive(e => e.ns === NS_SASL2)
  if (el.name !== 'success') throw new Error(`SASL2: ${el.name} ${el.children[0]?.name ?? ''}`)
}

function start(stream: Stream, mechanism: string, initial: string): void {
  stream.write(`<auth xmlns='${NS_SASL}' mechanism='${mechanism}'>${base64(initial)}</auth>`)
}

async function answer(stream: Stream, name: 'success' | 'challenge'): Promise<Buffer> {
  const el = await stream.receive(e => e.ns === NS_SASL)
  if (el.name !== name) throw new Error(`SASL: ${el.name} ${el.children[0]?.name ?? ''}`)
  return Buffer.from(el.text, 'base64')
}

async function scram(stream: Stream, mechanism: string, { user, password }: Credentials): Promise<void> {
  const [hash, length] = mechanism === 'SCRAM-SHA-1' ? ['sha1', 20] : ['sha256', 32]
  const hmac = (key: Uint8Array, data: string): Buffer => createHmac(hash, key).update(data).digest()
  const nonce = randomBytes(18).toString('base64')
  const clientFirst = `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`
  start(stream, mechanism, `n,,${clientFirst}`)
  const serverFirst = (await answer(stream, 'challenge')).toString()
  const [, serverNonce = '', salt = '', rounds = ''] = /^r=([^,]+),s=([^,]+),i=(\d+)/.exec(serverFirst) ?? []
  if (!serverNonce.startsWith(nonce)) throw new Error('SCRAM: the nonce does not start with ours')
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(rounds), length, hash)
  const clientKey = hmac(salted, 'Client Key')
  const withoutProof = `c=biws,r=${serverNonce}`
  const signed = `${clientFirst},${serverFirst},${withoutProof}`
  const signature = hmac(createHash(hash).update(clientKey).digest(), signed)
  const proof = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!)).toString('base64')
  stream.write(`<response xmlns='${NS_SASL}'>${base64(`${withoutProof},p=${proof}`)}</response>`)
  const verifier = Buffer.from((await answer(stream, 'success')).toString().slice(2), 'base64')
  const expected = hmac(hmac(salted, 'Server Key'), signed)
  if (verifier.length !== expected.length || !timingSafeEqual(verifier, expected)) {
    throw new Error('SCRAM: the server does not know the password')
  }
}
