import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { bitString, integer, oid, sequence, TAG, tlv } from '../../src/net/der.ts'
import { extension, generalName, issue, OID, subjectKeyIdentifier } from '../../src/net/issue.ts'

const DAY = 86_400_000

/** A certificate with what it needs of its chain, but for the root; and its key. PEM. */
export interface Issued {
  cert: string
  key: string
}

export interface LeafOptions {
  /** ms since 1970; from an hour ago, for 30 days. */
  notBefore?: number
  notAfter?: number
  /** SRV-IDs, such as `_xmpp-server.example.org` (RFC 4985). */
  srv?: readonly string[]
  /** Names of the kind that RFC 6120 13.7.1.4 has for old certificates. */
  xmppAddr?: readonly string[]
  /** The purposes that stand in it; `[]`: none stands there. */
  usages?: readonly ('serverAuth' | 'clientAuth')[]
  /** The subject's common name; the first name if left out. */
  commonName?: string
  /** Alternative names in DER, for what no authority would issue. */
  alternatives?: readonly Buffer[]
  /** Further extensions in DER. */
  extensions?: readonly Buffer[]
}

export interface AuthorityOptions extends Pick<LeafOptions, 'notBefore' | 'notAfter' | 'extensions'> {
  /** How many authorities may stand between it and a leaf. */
  pathLength?: number
  /** False: its certificate does not say that it is an authority. */
  authority?: boolean
}

/** A certificate authority for tests, made in this process. All keys are EC, P-256. */
export class TestCa {
  readonly name: string
  /** Its own certificate: what who trusts it has to be given, for a root. */
  readonly pem: string
  readonly #key: KeyObject
  /** From itself up, without the root. */
  readonly #chain: string

  /** A root. */
  static create(name = 'Test CA', options: AuthorityOptions = {}): TestCa {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const pem = issue({
      subject: name,
      issuer: name,
      publicKey: pair.publicKey,
      signedBy: pair.privateKey,
      ...times(options),
      extensions: authority(pair.publicKey, options),
    })
    return new TestCa(name, pem, pair.privateKey, '')
  }

  private constructor(name: string, pem: string, key: KeyObject, chain: string) {
    this.name = name
    this.pem = pem
    this.#key = key
    this.#chain = chain
  }

  /** An authority under this one. */
  intermediate(name = 'Test intermediate CA', options: AuthorityOptions = {}): TestCa {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const pem = issue({
      subject: name,
      issuer: this.name,
      publicKey: pair.publicKey,
      signedBy: this.#key,
      ...times(options),
      extensions: authority(pair.publicKey, options),
    })
    return new TestCa(name, pem, pair.privateKey, `${pem}${this.#chain}`)
  }

  /** A certificate for these names: domains, wildcards, addresses. */
  issue(names: readonly string[], options: LeafOptions = {}): Issued {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const cert = issue({
      subject: options.commonName ?? names[0] ?? 'nameless',
      issuer: this.name,
      publicKey,
      signedBy: this.#key,
      ...times(options),
      extensions: leaf(publicKey, names, options),
    })
    return { cert: `${cert}${this.#chain}`, key: pem(privateKey) }
  }

  expired(...names: string[]): Issued {
    return this.issue(names, { notBefore: Date.now() - 30 * DAY, notAfter: Date.now() - DAY })
  }

  notYetValid(...names: string[]): Issued {
    return this.issue(names, { notBefore: Date.now() + DAY, notAfter: Date.now() + 30 * DAY })
  }
}

/** A certificate that nobody vouches for but its own key. */
export function selfSignedLeaf(names: readonly string[], options: LeafOptions = {}): Issued {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const name = options.commonName ?? names[0]!
  const parts = { publicKey, signedBy: privateKey, ...times(options), extensions: leaf(publicKey, names, options) }
  return { cert: issue({ subject: name, issuer: name, ...parts }), key: pem(privateKey) }
}

/** `[0]` of a GeneralName: a name of a kind of its own. */
export function otherName(kind: string, value: Buffer): Buffer {
  return tlv(0xa0, oid(kind), tlv(0xa0, value))
}

function leaf(publicKey: KeyObject, names: readonly string[], options: LeafOptions): Buffer[] {
  const { srv = [], xmppAddr = [], usages = ['serverAuth', 'clientAuth'], alternatives = [], extensions = [] } = options
  const all = [
    ...names.map(generalName),
    ...srv.map(name => otherName(OID.dnsSRV, tlv(TAG.ia5, Buffer.from(name, 'latin1')))),
    ...xmppAddr.map(name => otherName(OID.xmppAddr, tlv(TAG.utf8, Buffer.from(name)))),
    ...alternatives,
  ]
  return [
    extension(OID.basicConstraints, sequence(), true),
    extension(OID.keyUsage, bitString(Buffer.from([0x80]), 7), true), // digitalSignature
    ...(usages.length > 0 ? [extension(OID.extKeyUsage, sequence(...usages.map(name => oid(OID[name]))))] : []),
    subjectKeyIdentifier(publicKey),
    ...(all.length > 0 ? [extension(OID.subjectAltName, sequence(...all))] : []),
    ...extensions,
  ]
}

function authority(publicKey: KeyObject, options: AuthorityOptions): Buffer[] {
  const { pathLength, authority = true, extensions = [] } = options
  const isCa = authority ? [tlv(TAG.boolean, Buffer.from([0xff]))] : []
  const length = pathLength === undefined ? [] : [integer(Buffer.from([pathLength]))]
  return [
    extension(OID.basicConstraints, sequence(...isCa, ...length), true),
    ...(authority ? [extension(OID.keyUsage, bitString(Buffer.from([0x06]), 1), true)] : []), // keyCertSign, cRLSign
    subjectKeyIdentifier(publicKey),
    ...extensions,
  ]
}

function times({ notBefore, notAfter }: Pick<LeafOptions, 'notBefore' | 'notAfter'>): {
  notBefore: number
  notAfter: number
} {
  const now = Date.now()
  return { notBefore: notBefore ?? now - 3_600_000, notAfter: notAfter ?? now + 30 * DAY }
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}
