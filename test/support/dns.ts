/**
 * A DNS server for tests: what its records say, by UDP and TCP on one port of the loopback, with faults at will. Servers are
 * pointed at it by an option, so that domains, addresses and failures are those that a test wants.
 */

import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  type Question,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet'

export interface SrvRecord {
  priority?: number
  weight?: number
  port: number
  /** `.`: there is no such service. */
  target: string
}

/** What is known of one name. */
export interface Records {
  A?: readonly string[]
  AAAA?: readonly string[]
  SRV?: readonly SrvRecord[]
  CNAME?: string
  TXT?: readonly string[]
  /** Seconds; 300 unless said. */
  ttl?: number
}

/** By name, in lower case, without a final dot. A name that is not here does not exist, unless one below it is. */
export type Zone = Record<string, Records>

export type DnsFault =
  /** No answer, ever. */
  | 'never'
  /** An answer with this code and no records. */
  | 'servfail'
  | 'refused'
  /** By UDP: that it has to be asked for by TCP. */
  | 'truncated'
  /** The answer to another question: its id, its name, or the port that it comes from are wrong. */
  | 'wrong-id'
  | 'wrong-name'
  | 'wrong-port'
  /** By UDP: many answers with other ids, as from somebody who guesses. */
  | 'forged'
  /** Bytes that are no message, or half of one. */
  | 'garbage'
  | 'half'
  /** By TCP: the connection is closed. */
  | 'reset'
  /** The answer, so many ms late. */
  | { late: number }

export type Carrier = 'udp' | 'tcp'

/** Most bytes of an answer by UDP, to who does not say that it takes more (RFC 1035 4.2.1). */
const MAX_UDP = 512
const SERVFAIL = 2
const NXDOMAIN = 3
const REFUSED = 5

export class DnsServer {
  zone: Zone
  /** Seconds for which it may be kept that there is nothing; undefined: no SOA says so. */
  negativeTtl: number | undefined = 60
  /** Answers follow aliases to their end; if not, who asks has to. */
  chases = true
  /** What happens to a question; undefined: it is answered. */
  fault: (question: Question, carrier: Carrier) => DnsFault | undefined = () => undefined
  /** Questions that came, as `A example.net udp` (names in lower case); the ids that they had, and the ports they came from. */
  readonly asked: { question: string; id: number; port: number }[] = []
  readonly #udp: UdpSocket
  readonly #tcp: Server
  readonly #sockets = new Set<Socket>()
  readonly #timers = new Set<NodeJS.Timeout>()

  private constructor(zone: Zone, udp: UdpSocket, tcp: Server) {
    this.zone = zone
    this.#udp = udp
    this.#tcp = tcp
    udp.on('error', () => {})
    udp.on('message', (data, from) => this.#datagram(data, from))
    tcp.on('connection', socket => this.#connection(socket))
  }

  /** Runs until the test is over. Port 0: any that is free. */
  static async start(
    t: { after(fn: () => void): void },
    zone: Zone = {},
    at: { ip?: string; port?: number } = {},
  ): Promise<DnsServer> {
    const { ip = '127.0.0.1', port = 0 } = at
    for (let tries = 1; ; tries++) {
      const tcp = createServer()
      const udp = createSocket(ip.includes(':') ? 'udp6' : 'udp4')
      try {
        await once(tcp.listen(port, ip), 'listening')
        // The same port may be taken for UDP.
        udp.bind((tcp.address() as AddressInfo).port, ip)
        await once(udp, 'listening')
      } catch (error) {
        tcp.close()
        udp.close()
        if (port !== 0 || tries === 10) throw error
        continue
      }
      const server = new DnsServer(zone, udp, tcp)
      t.after(() => server.stop())
      return server
    }
  }

  /** `ip:port`, as options name it. */
  get address(): string {
    const { address, family, port } = this.#tcp.address() as AddressInfo
    return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
  }

  /** Questions that came, as `A example.net udp`. */
  get questions(): string[] {
    return this.asked.map(({ question }) => question)
  }

  get port(): number {
    return (this.#tcp.address() as AddressInfo).port
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    for (const socket of this.#sockets) socket.destroy()
    if (!this.#tcp.listening) return
    this.#tcp.close()
    this.#udp.close()
  }

  #datagram(data: Buffer, from: RemoteInfo): void {
    this.#answer(data, 'udp', from.port, (answer, otherPort) => {
      if (!otherPort) return this.#udp.send(answer, from.port, from.address)
      const other = createSocket('udp4')
      other.send(answer, from.port, from.address, () => other.close())
    })
  }

  #connection(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => this.#sockets.delete(socket))
    let held = Buffer.alloc(0)
    socket.on('data', chunk => {
      held = Buffer.concat([held, chunk])
      while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
        const end = 2 + held.readUInt16BE(0)
        const question = held.subarray(2, end)
        held = held.subarray(end)
        this.#answer(question, 'tcp', socket.remotePort ?? 0, answer => {
          const length = Buffer.alloc(2)
          length.writeUInt16BE(answer.length)
          socket.write(Buffer.concat([length, answer]))
        })
      }
    })
  }

  #answer(data: Buffer, carrier: Carrier, port: number, send: (answer: Buffer, otherPort?: boolean) => void): void {
    const { id = 0, questions: [question] = [] } = decode(data)
    if (question === undefined) return
    this.asked.push({ question: `${question.type} ${question.name.toLowerCase()} ${carrier}`, id, port })
    const fault = this.fault(question, carrier)
    switch (fault) {
      case 'never':
        return
      case 'servfail':
        return send(message(id, question, SERVFAIL))
      case 'refused':
        return send(message(id, question, REFUSED))
      case 'garbage':
        return send(Buffer.from('this is no message'))
      case 'half': {
        const whole = this.#reply(id, question)
        return send(whole.subarray(0, whole.length - 3))
      }
      case 'wrong-id':
        return send(this.#reply((id + 1) & 0xffff, question))
      case 'wrong-name':
        return send(message(id, { ...question, name: `x.${question.name}` }, NXDOMAIN))
      case 'wrong-port':
        return send(this.#reply(id, question), true)
      case 'reset':
        for (const socket of this.#sockets) socket.destroy()
        return
      case 'forged':
        if (carrier === 'tcp') return send(this.#reply(id, question))
        for (let i = 1; i <= 10; i++) send(this.#reply((id + i) & 0xffff, question))
        return
      case 'truncated':
        if (carrier === 'udp') return send(message(id, question, 0, TRUNCATED_RESPONSE))
        return send(this.#reply(id, question))
      case undefined: {
        const whole = this.#reply(id, question)
        const tooLong = carrier === 'udp' && whole.length > MAX_UDP
        return send(tooLong ? message(id, question, 0, TRUNCATED_RESPONSE) : whole)
      }
      default: {
        const timer = setTimeout(() => {
          this.#timers.delete(timer)
          send(this.#reply(id, question))
        }, fault.late)
        this.#timers.add(timer)
      }
    }
  }

  #reply(id: number, question: Question): Buffer {
    const answers: Answer[] = []
    let name = question.name.toLowerCase()
    let records = this.zone[name]
    while (records?.CNAME !== undefined && answers.length < 10) {
      answers.push({ type: 'CNAME', name, ttl: records.ttl ?? 300, data: records.CNAME })
      if (!this.chases) return message(id, question, 0, 0, answers)
      name = records.CNAME.toLowerCase()
      records = this.zone[name]
    }
    const found = records === undefined ? [] : answersOf(question, name, records)
    if (found.length > 0 || records?.CNAME !== undefined) return message(id, question, 0, 0, [...answers, ...found])
    const exists = Object.keys(this.zone).some(one => one === name || one.endsWith(`.${name}`))
    return message(id, question, exists ? 0 : NXDOMAIN, 0, answers, this.negativeTtl)
  }
}

function answersOf({ type }: Question, name: string, records: Records): Answer[] {
  const ttl = records.ttl ?? 300
  if (type === 'A' || type === 'AAAA') return (records[type] ?? []).map(data => ({ type, name, ttl, data }))
  if (type === 'TXT') return (records.TXT ?? []).map(data => ({ type, name, ttl, data }))
  if (type !== 'SRV') return []
  return (records.SRV ?? []).map(({ priority = 0, weight = 0, port, target }) => {
    return { type, name, ttl, data: { priority, weight, port, target } }
  })
}

function message(
  id: number,
  question: Question,
  code: number,
  flags = 0,
  answers: Answer[] = [],
  negativeTtl?: number,
): Buffer {
  const soa: Answer = {
    type: 'SOA',
    name: '.',
    ttl: negativeTtl ?? 0,
    data: { mname: 'ns.', rname: 'hostmaster.', minimum: negativeTtl ?? 0 },
  }
  return encode({
    type: 'response',
    id,
    flags: AUTHORITATIVE_ANSWER | RECURSION_DESIRED | RECURSION_AVAILABLE | flags | code,
    questions: [question],
    answers,
    authorities: negativeTtl === undefined ? [] : [soa],
  })
}
