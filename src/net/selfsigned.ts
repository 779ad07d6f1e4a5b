import { createHash, generateKeyPair, type KeyObject, randomBytes, sign } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { domainToASCII } from 'node:url'
import { promisify } from 'node:util'
import { ipv6Groups } from '../util/address.ts'

const DAY = 86_400_000
/** Ten years: who has accepted this certificate by hand is not to be asked again. */
const LIFETIME = 3652 * DAY

/** Object identifiers, by their names in RFC 5280 and RFC 5758. */
const OID = {
  ecdsaWithSHA256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const

/**
 * Makes a key (ECDSA, P-256) and a certificate for it, signed by itself (X.509 v3, RFC 5280), for use until there is a real
 * one. It is valid for each name and for what is one label below it, from a day ago for ten years.
 *
 * @param names domains (Unicode is taken too) or IP addresses, IPv6 in brackets or not; at least one
 * @param now ms since 1970
 * @returns both as PEM, the key as PKCS #8
 * @throws RangeError on a name that is neither a domain nor an address
 */
export async function selfSigned(names: readonly string[], now = Date.now()): Promise<{ cert: string; key: string }> {
  const [first] = names
  if (first === undefined) throw new RangeError('a certificate needs a name')
  const alternatives = names.flatMap(generalNames)
  const { publicKey, privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' })
  const algorithm = sequence(oid(OID.ecdsaWithSHA256))
  const subject = distinguishedName(first)
  const tbs = sequence(
    tlv(0xa0, integer(Buffer.from([2]))), // v3
    integer(serialNumber()),
    algorithm,
    subject, // the issuer
    sequence(time(now - DAY), time(now + LIFETIME)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensions(publicKey, alternatives))),
  )
  const cert = sequence(tbs, algorithm, bitString(sign('sha256', tbs, privateKey)))
  return { cert: pem('CERTIFICATE', cert), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

function extensions(publicKey: KeyObject, alternatives: readonly Buffer[]): Buffer[] {
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
  return [
    // Not an authority: who trusts this certificate trusts nothing that its key may sign.
    extension(OID.basicConstraints, sequence(), true),
    extension(OID.keyUsage, tlv(0x03, Buffer.from([7, 0x80])), true), // digitalSignature
    extension(OID.extKeyUsage, sequence(oid(OID.serverAuth), oid(OID.clientAuth))),
    extension(OID.subjectKeyIdentifier, octets(createHash('sha1').update(point).digest())),
    extension(OID.subjectAltName, sequence(...alternatives)),
  ]
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [tlv(0x01, Buffer.from([0xff]))] : []), octets(value))
}

/** GeneralName (RFC 5280 4.2.1.6): `[2]` a DNS name, `[7]` an IP address. */
function generalNames(name: string): Buffer[] {
  const address = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name
  if (isIPv4(address)) return [tlv(0x87, Buffer.from(address.split('.').map(Number)))]
  if (isIPv6(address) && !address.includes('%')) {
    return [tlv(0x87, Buffer.from(ipv6Groups(address).flatMap(group => [group >> 8, group & 255])))]
  }
  // domainToASCII reads as a URL does and stops, say, at a slash.
  const ascii = /[\s\\/?#@:%]/.test(name) ? '' : domainToASCII(name)
  if (!/^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(ascii) || ascii.length > 253) {
    throw new RangeError(`not a domain: ${JSON.stringify(name)}`)
  }
  return [tlv(0x82, Buffer.from(ascii, 'latin1')), tlv(0x82, Buffer.from(`*.${ascii}`, 'latin1'))]
}

/** A name of one part, the common name, which may have 64 characters; clients look at the subjectAltName. */
function distinguishedName(name: string): Buffer {
  const ascii = domainToASCII(name) || name
  const commonName = tlv(0x0c, Buffer.from(ascii.length <= 64 ? ascii : 'self-signed'))
  return sequence(tlv(0x31, sequence(oid(OID.commonName), commonName)))
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
  return digits < '2050' ? tlv(0x17, Buffer.from(digits.slice(2))) : tlv(0x18, Buffer.from(digits))
}

// DER, as far as it is needed above (X.690).

function tlv(tag: number, ...content: readonly Buffer[]): Buffer {
  const value = Buffer.concat(content)
  const size = value.length
  if (size < 0x80) return Buffer.concat([Buffer.from([tag, size]), value])
  if (size < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, size]), value])
  if (size < 0x10000) return Buffer.concat([Buffer.from([tag, 0x82, size >> 8, size & 255]), value])
  return Buffer.concat([Buffer.from([tag, 0x83, size >> 16, (size >> 8) & 255, size & 255]), value])
}

function sequence(...content: readonly Buffer[]): Buffer {
  return tlv(0x30, ...content)
}

function octets(value: Buffer): Buffer {
  return tlv(0x04, value)
}

function bitString(value: Buffer): Buffer {
  return tlv(0x03, Buffer.from([0]), value)
}

/** @param value big-endian, positive, without leading zeros */
function integer(value: Buffer): Buffer {
  return tlv(0x02, value)
}

function oid(dotted: string): Buffer {
  const [a = 0, b = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [a * 40 + b]
  for (const arc of rest) {
    const septets = [arc & 127]
    for (let left = arc >> 7; left > 0; left >>= 7) septets.unshift((left & 127) | 128)
    bytes.push(...septets)
  }
  return tlv(0x06, Buffer.from(bytes))
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
