import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { domainToASCII } from 'node:url'
import { ipv6Groups } from '../util/address.ts'
import { bitString, integer, octets, oid, sequence, TAG, tlv } from './der.ts'

/** Object identifiers, by their names in RFC 5280, RFC 5758, RFC 4985 and RFC 6120. */
export const OID = {
  ecdsaWithSHA256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  anyExtendedKeyUsage: '2.5.29.37.0',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  dnsSRV: '1.3.6.1.5.5.7.8.7',
  xmppAddr: '1.3.6.1.5.5.7.8.5',
} as const

export interface Issue {
  /** Common names. */
  subject: string
  issuer: string
  publicKey: KeyObject
  /** Of the issuer: an EC key on P-256. */
  signedBy: KeyObject
  /** ms since 1970 */
  notBefore: number
  notAfter: number
  /** In DER; see {@link extension}. */
  extensions: readonly Buffer[]
}

/** A certificate (X.509 v3, RFC 5280), as PEM. */
export function issue({ subject, issuer, publicKey, signedBy, notBefore, notAfter, extensions }: Issue): string {
  const algorithm = sequence(oid(OID.ecdsaWithSHA256))
  const tbs = sequence(
    tlv(0xa0, integer(Buffer.from([2]))), // v3
    integer(serialNumber()),
    algorithm,
    distinguishedName(issuer),
    sequence(time(notBefore), time(notAfter)),
    distinguishedName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensions)),
  )
  return pem('CERTIFICATE', sequence(tbs, algorithm, bitString(sign('sha256', tbs, signedBy))))
}

export function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [tlv(TAG.boolean, Buffer.from([0xff]))] : []), octets(value))
}

/** Of a key on P-256 (RFC 5280 4.2.1.2). */
export function subjectKeyIdentifier(publicKey: KeyObject): Buffer {
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
  return extension(OID.subjectKeyIdentifier, octets(createHash('sha1').update(point).digest()))
}

/**
 * GeneralName (RFC 5280 4.2.1.6): `[2]` a DNS name, `[7]` an IP address.
 *
 * @param name a domain (Unicode is taken too), perhaps below `*.`; an address, IPv6 in brackets or not
 * @throws RangeError on what is neither
 */
export function generalName(name: string): Buffer {
  const address = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name
  if (isIPv4(address)) return tlv(0x87, Buffer.from(address.split('.').map(Number)))
  if (isIPv6(address) && !address.includes('%')) {
    return tlv(0x87, Buffer.from(ipv6Groups(address).flatMap(group => [group >> 8, group & 255])))
  }
  const wildcard = name.startsWith('*.') ? '*.' : ''
  const plain = name.slice(wildcard.length)
  // domainToASCII reads as a URL does and stops, say, at a slash.
  const ascii = /[\s\\/?#@:%]/.test(plain) ? '' : domainToASCII(plain)
  if (!/^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(ascii) || ascii.length > 253) {
    throw new RangeError(`not a domain: ${JSON.stringify(name)}`)
  }
  return tlv(0x82, Buffer.from(`${wildcard}${ascii}`, 'latin1'))
}

/** A name of one part, the common name, which may have 64 characters; who checks names looks at the subjectAltName. */
function distinguishedName(name: string): Buffer {
  return sequence(tlv(TAG.set, sequence(oid(OID.commonName), tlv(TAG.utf8, Buffer.from(name)))))
}

/** 126 random bits under a leading 01: positive, and of the same length always. */
function serialNumber(): Buffer {
  const serial = randomBytes(16)
  serial[0] = (serial[0]! & 0x3f) | 0x40
  return serial
}

/** UTCTime up to 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5). */
function time(ms: number): Buffer {
  const digits = `${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`
  return digits < '2050'
    ? tlv(TAG.utcTime, Buffer.from(digits.slice(2)))
    : tlv(TAG.generalizedTime, Buffer.from(digits))
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
