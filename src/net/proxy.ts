import { isIPv4, isIPv6 } from 'node:net'
import { plainAddress } from '../util/address.ts'
import type { Peer } from './transport.ts'

/** The header is not one; the connection is to be closed without an answer. The message holds nothing of the input. */
export class ProxyError extends Error {
  override name = 'ProxyError'
}

export interface ProxyResult {
  /** Absent when the proxy speaks for itself (LOCAL, a health check) or does not know: the socket's address counts. */
  source: Peer | undefined
  /** What came after the header. */
  rest: Buffer
}

const V1_START = Buffer.from('PROXY ')
/** Longest v1 header, with its CRLF. */
const V1_MAX = 107
const V2_START = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const V2_FIXED = 16
/** Most bytes of addresses and TLVs in a v2 header; UNIX addresses take 216, the rest is for TLVs, which are skipped. */
const V2_MAX_LENGTH = 1024

/**
 * Reads the header that a proxy puts before a connection (HAProxy's PROXY protocol, versions 1 and 2), in whatever pieces it
 * comes. Holds at most 1040 bytes and gives up at the first byte that cannot be right.
 */
export class ProxyHeader {
  #held: Buffer | undefined

  /** undefined: the header goes on. Not to be called again once it has answered or thrown a ProxyError. */
  write(chunk: Buffer): ProxyResult | undefined {
    const data = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk])
    const result = data[0] === V1_START[0] ? readV1(data) : readV2(data)
    this.#held = result === undefined ? data : undefined
    return result
  }
}

function expectStart(data: Buffer, start: Buffer): void {
  const length = Math.min(data.length, start.length)
  if (data.compare(start, 0, length, 0, length) !== 0) throw new ProxyError('no PROXY header')
}

function readV1(data: Buffer): ProxyResult | undefined {
  expectStart(data, V1_START)
  const head = data.subarray(0, V1_MAX)
  const end = head.indexOf('\r\n')
  if (end < 0) {
    if (data.length >= V1_MAX) throw new ProxyError('PROXY v1 header is too long')
    const last = data.length - 1
    for (let i = V1_START.length; i < data.length; i++) {
      if (!printable(data[i]!) && !(i === last && data[i] === 0x0d))
        throw new ProxyError('PROXY v1 header is not a line')
    }
    return undefined
  }
  for (let i = V1_START.length; i < end; i++) {
    if (!printable(data[i]!)) throw new ProxyError('PROXY v1 header is not a line')
  }
  return { source: readLine(data.toString('latin1', V1_START.length, end)), rest: data.subarray(end + 2) }
}

function printable(byte: number): boolean {
  return byte >= 0x20 && byte < 0x7f
}

function readLine(line: string): Peer | undefined {
  const words = line.split(' ')
  const [family, from = '', to = '', fromPort = '', toPort = ''] = words
  // Whatever follows UNKNOWN is to be ignored.
  if (family === 'UNKNOWN') return undefined
  if (family !== 'TCP4' && family !== 'TCP6') throw new ProxyError('PROXY v1 header is of an unknown protocol')
  if (words.length !== 5) throw new ProxyError('PROXY v1 header has not two addresses and two ports')
  const valid = family === 'TCP4' ? isIPv4 : isPlainIPv6
  if (!valid(from) || !valid(to)) throw new ProxyError(`PROXY v1 header has an address that is not ${family}`)
  const port = readPort(fromPort)
  readPort(toPort)
  return { ip: plainAddress(from), port }
}

function isPlainIPv6(ip: string): boolean {
  return isIPv6(ip) && !ip.includes('%')
}

function readPort(text: string): number {
  if (!/^(0|[1-9]\d{0,4})$/.test(text) || Number(text) > 65_535) throw new ProxyError('PROXY v1 header has a bad port')
  return Number(text)
}

function readV2(data: Buffer): ProxyResult | undefined {
  expectStart(data, V2_START)
  // Each field is judged as soon as it is there, so that a bad one does not wait for more bytes.
  if (data.length < 13) return undefined
  const version = data[12]! >> 4
  const command = data[12]! & 15
  if (version !== 2) throw new ProxyError('PROXY header is neither version 1 nor 2')
  if (command > 1) throw new ProxyError('PROXY v2 header has an unknown command')
  if (data.length < 14) return undefined
  const family = data[13]! >> 4
  const protocol = data[13]! & 15
  if (family > 3 || protocol > 2) throw new ProxyError('PROXY v2 header is of an unknown address family')
  if (data.length < V2_FIXED) return undefined
  const length = data.readUInt16BE(14)
  if (length > V2_MAX_LENGTH) throw new ProxyError('PROXY v2 header is too long')
  const stream = command === 1 && protocol === 1
  if (stream && length < ADDRESS_BYTES[family]!) throw new ProxyError('PROXY v2 header is too short for its addresses')
  const end = V2_FIXED + length
  if (data.length < end) return undefined
  const rest = data.subarray(end)
  if (stream && family === 1) {
    return { source: { ip: data.subarray(16, 20).join('.'), port: data.readUInt16BE(24) }, rest }
  }
  if (stream && family === 2) {
    const groups: string[] = []
    for (let i = 16; i < 32; i += 2) groups.push(data.readUInt16BE(i).toString(16))
    return { source: { ip: plainAddress(groups.join(':')), port: data.readUInt16BE(48) }, rest }
  }
  // LOCAL, unspecified, UNIX sockets, datagrams: nothing that is a client's address.
  return { source: undefined, rest }
}

/** Both addresses and ports, by family: unspecified, IPv4, IPv6, UNIX. */
const ADDRESS_BYTES = [0, 12, 36, 216] as const
