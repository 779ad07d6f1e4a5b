/** DER (X.690), as far as X.509 certificates need it: written, and read strictly. */

/** One element that lies in some bytes. */
export interface DerElement {
  readonly tag: number
  /** Where its content begins and where it ends. */
  readonly start: number
  readonly end: number
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octets: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  ia5: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/**
 * The element at a place. Undefined where there is none, or what is there is not DER: cut off, of indefinite length, of a
 * length written longer than need be, with a tag of several bytes. Never throws.
 *
 * @param end where what holds it ends
 */
export function readElement(der: Buffer, at: number, end = der.length): DerElement | undefined {
  if (at < 0 || at + 2 > end || end > der.length) return undefined
  const tag = der[at]!
  const first = der[at + 1]!
  if ((tag & 0x1f) === 0x1f || first === 0x80) return undefined
  const size = first < 0x80 ? 0 : first & 0x7f
  if (size > 3 || at + 2 + size > end) return undefined
  const length = size === 0 ? first : der.readUIntBE(at + 2, size)
  if (size > 0 && (length < 0x80 || length < 256 ** (size - 1))) return undefined
  const start = at + 2 + size
  return start + length > end ? undefined : { tag, start, end: start + length }
}

/** What an element holds, if it is nothing but elements, at most `most` of them. */
export function readChildren(der: Buffer, { start, end }: DerElement, most = 1000): DerElement[] | undefined {
  const children: DerElement[] = []
  for (let at = start; at < end; ) {
    const child = readElement(der, at, end)
    if (child === undefined || children.length === most) return undefined
    children.push(child)
    at = child.end
  }
  return children
}

export function content(der: Buffer, { start, end }: DerElement): Buffer {
  return der.subarray(start, end)
}

/** An object identifier in dots; undefined where it is not one. */
export function readOid(der: Buffer, { tag, start, end }: DerElement): string | undefined {
  if (tag !== TAG.oid || start === end || end - start > 64 || der[end - 1]! >= 0x80) return undefined
  const arcs: bigint[] = []
  let arc = 0n
  let fresh = true
  for (let at = start; at < end; at++) {
    const byte = der[at]!
    if (fresh && byte === 0x80) return undefined
    arc = (arc << 7n) | BigInt(byte & 0x7f)
    fresh = byte < 0x80
    if (!fresh) continue
    if (arcs.length > 0) arcs.push(arc)
    else if (arc < 80n) arcs.push(arc / 40n, arc % 40n)
    else arcs.push(2n, arc - 80n)
    arc = 0n
  }
  return arcs.join('.')
}

export function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const value = Buffer.concat(parts)
  const size = value.length
  if (size < 0x80) return Buffer.concat([Buffer.from([tag, size]), value])
  if (size < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, size]), value])
  if (size < 0x10000) return Buffer.concat([Buffer.from([tag, 0x82, size >> 8, size & 255]), value])
  return Buffer.concat([Buffer.from([tag, 0x83, size >> 16, (size >> 8) & 255, size & 255]), value])
}

export function sequence(...parts: readonly Buffer[]): Buffer {
  return tlv(TAG.sequence, ...parts)
}

export function octets(value: Buffer): Buffer {
  return tlv(TAG.octets, value)
}

export function bitString(value: Buffer, unused = 0): Buffer {
  return tlv(TAG.bitString, Buffer.from([unused]), value)
}

/** @param value big-endian, positive, without leading zeros */
export function integer(value: Buffer): Buffer {
  return tlv(TAG.integer, value)
}

export function oid(dotted: string): Buffer {
  const [a = 0, b = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [a * 40 + b]
  for (const arc of rest) {
    const septets = [arc & 127]
    for (let left = arc >> 7; left > 0; left >>= 7) septets.unshift((left & 127) | 128)
    bytes.push(...septets)
  }
  return tlv(TAG.oid, Buffer.from(bytes))
}
