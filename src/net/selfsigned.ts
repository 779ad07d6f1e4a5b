import { generateKeyPair } from 'node:crypto'
import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { promisify } from 'node:util'
import { bitString, oid, sequence } from './der.ts'
import { extension, generalName, issue, OID, subjectKeyIdentifier } from './issue.ts'

const DAY = 86_400_000
/** Ten years: who has accepted this certificate by hand is not to be asked again. */
const LIFETIME = 3652 * DAY

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
  const alternatives = names.flatMap(alternativesOf)
  const { publicKey, privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' })
  const ascii = domainToASCII(first) || first
  const name = ascii.length <= 64 ? ascii : 'self-signed'
  const cert = issue({
    subject: name,
    issuer: name,
    publicKey,
    signedBy: privateKey,
    notBefore: now - DAY,
    notAfter: now + LIFETIME,
    extensions: [
      // Not an authority: who trusts this certificate trusts nothing that its key may sign.
      extension(OID.basicConstraints, sequence(), true),
      extension(OID.keyUsage, bitString(Buffer.from([0x80]), 7), true), // digitalSignature
      extension(OID.extKeyUsage, sequence(oid(OID.serverAuth), oid(OID.clientAuth))),
      subjectKeyIdentifier(publicKey),
      extension(OID.subjectAltName, sequence(...alternatives)),
    ],
  })
  return { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

function alternativesOf(name: string): Buffer[] {
  const isAddress = isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0
  return isAddress ? [generalName(name)] : [generalName(name), generalName(`*.${name}`)]
}
