import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import { type Question, type Reply, readReply, writeQuery } from './message.ts'

/** A DNS server, where it is. */
export interface DnsServer {
  readonly ip: string
  readonly port: number
}

/** Messages that answer something else, after which somebody seems to guess: then it is asked by TCP (RFC 5452 9.2). */
const MAX_STRANGE = 8

/**
 * Asks one server, by UDP and where need be by TCP, with an id and a port that nobody can guess. There is no time limit but the
 * signal's. Rejects where the server cannot be asked or answers what cannot be understood.
 */
export async function exchange(server: DnsServer, question: Question, signal: AbortSignal): Promise<Reply> {
  const query = writeQuery(randomInt(0x10000), question)
  const reply = await byUdp(server, query, question, signal)
  return reply === undefined || reply.truncated ? byTcp(server, query, question, signal) : reply
}

/** Each question has a socket of its own, and so a port that the system chose by chance; undefined: TCP is better. */
function byUdp(
  { ip, port }: DnsServer,
  query: Buffer,
  question: Question,
  signal: AbortSignal,
): Promise<Reply | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(ip) ? 'udp6' : 'udp4')
    let strange = 0
    let ended = false
    const end = (settle: () => void): void => {
      signal.removeEventListener('abort', aborted)
      if (!ended) socket.close()
      ended = true
      settle()
    }
    const failed = (error: unknown): void => end(() => reject(error))
    const aborted = (): void => failed(signal.reason)
    if (signal.aborted) return aborted()
    signal.addEventListener('abort', aborted)
    socket.on('error', failed)
    socket.on('message', data => {
      if (ended) return
      try {
        const reply = readReply(data, query, question)
        if (reply !== undefined) end(() => resolve(reply))
        else if (++strange === MAX_STRANGE) end(() => resolve(undefined))
      } catch (error) {
        failed(error)
      }
    })
    // Connected, so that the system lets nothing in from elsewhere, and tells of a port where nobody listens.
    socket.once('connect', () => {
      if (!ended) socket.send(query)
    })
    socket.connect(port, ip)
  })
}

function byTcp({ ip, port }: DnsServer, query: Buffer, question: Question, signal: AbortSignal): Promise<Reply> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const socket = connect({ host: ip, port, signal })
    let held = Buffer.alloc(0)
    const end = (settle: () => void): void => {
      socket.destroy()
      settle()
    }
    socket.on('error', error => end(() => reject(signal.aborted ? signal.reason : error)))
    socket.once('close', () => reject(new Error('the connection was closed before an answer')))
    socket.on('data', chunk => {
      held = Buffer.concat([held, chunk])
      if (held.length < 2 || held.length < 2 + held.readUInt16BE(0)) return
      try {
        const reply = readReply(held.subarray(2, 2 + held.readUInt16BE(0)), query, question)
        if (reply === undefined || reply.truncated) end(() => reject(new Error('an answer to something else')))
        else end(() => resolve(reply))
      } catch (error) {
        end(() => reject(error))
      }
    })
    const length = Buffer.alloc(2)
    length.writeUInt16BE(query.length)
    socket.write(Buffer.concat([length, query]))
  })
}
