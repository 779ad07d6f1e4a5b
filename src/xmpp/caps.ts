import { createHash } from 'node:crypto'
import { type Element, findChildren, NS } from '../xml/index.ts'
import { formTypeOf, formValues } from './forms.ts'

/** Hash functions by their names in XEP-0115 (those of the IANA registry); a name that is not here is not known. */
const HASHES: Readonly<Record<string, string>> = {
  'sha-1': 'sha1',
  'sha-224': 'sha224',
  'sha-256': 'sha256',
  'sha-384': 'sha384',
  'sha-512': 'sha512',
}

/** Whether what such a hash says can be verified. Those that can be made to fit (MD2, MD5) cannot. */
export function isVerifiable(hash: string): boolean {
  return Object.hasOwn(HASHES, hash)
}

/**
 * The verification string of an answer to disco#info (XEP-0115 5.1), from its `<query/>`, in base64. `hash` is one of those
 * that {@link isVerifiable} knows. Forms without a hidden FORM_TYPE do not count (5.4).
 */
export function verificationString(query: Element, hash = 'sha-1'): string {
  const identities = findChildren(query, 'identity', NS.DISCO_INFO).map(
    ({ attrs }) =>
      `${attrs['category'] ?? ''}/${attrs['type'] ?? ''}/${attrs['xml:lang'] ?? ''}/${attrs['name'] ?? ''}`,
  )
  const features = findChildren(query, 'feature', NS.DISCO_INFO).map(el => el.attrs['var'] ?? '')
  const parts = [...octets(identities), ...octets(features)]
  const forms = new Map<string, Element>()
  for (const form of findChildren(query, 'x', NS.DATA)) {
    const type = formTypeOf(form)
    if (type !== undefined) forms.set(type, form)
  }
  for (const type of octets([...forms.keys()])) {
    const values = formValues(forms.get(type)!)
    values.delete('FORM_TYPE')
    parts.push(type)
    for (const name of octets([...values.keys()])) parts.push(name, ...octets(values.get(name)!))
  }
  return createHash(HASHES[hash]!)
    .update(parts.map(part => `${part}<`).join(''))
    .digest('base64')
}

/** In the order of their bytes (i;octet, RFC 4790 9.3), which is not that of UTF-16 units. */
function octets(texts: readonly string[]): string[] {
  return [...texts].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}
