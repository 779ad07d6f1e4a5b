import { Resolver as SystemResolver } from 'node:dns'
import { isIP } from 'node:net'
import { endpoint } from '../../util/address.ts'
import { Limit } from '../../util/limit.ts'
import { Weighed } from '../../util/weighed.ts'
import { type DnsServer, exchange } from './exchange.ts'
import { HostsFile } from './hosts.ts'
import { MAX_ALIASES, type Question, type RecordType, type Reply, type Srv } from './message.ts'
import { specialName } from './names.ts'

/** Records of a name: none where it has none of this type, or does not exist. */
export type Records<T> = readonly T[]

/** Nobody answered, or nobody could; the message says for the operator who was asked, and what each said. */
export class DnsError extends Error {
  override name = 'DnsError'
}

export interface ResolverOptions {
  /** Who is asked; undefined: the servers of the system, and its list of hosts before them. */
  server?: DnsServer | undefined
  /** ms since 1970. */
  now?: () => number
  hosts?: string
  /** How long each round waits for an answer before the next server, or the same again, is asked too (ms). */
  rounds?: readonly number[]
}

interface Kept {
  readonly until: number
  readonly records: readonly (string | Srv)[]
  readonly error: DnsError | undefined
}

const ROUNDS = [2000, 3000, 5000]
/** Most servers of the system that are asked (as resolv.conf(5) has it), and how long their list is believed (ms). */
const MAX_SERVERS = 3
const SERVERS_KEPT = 30_000

/** Bounds to lifetimes (ms): none means ten seconds, and a domain that moves is found again within the hour. */
const MIN_KEPT = 10_000
const MAX_KEPT = 3_600_000
/** That there is nothing (RFC 2308 5): who adds a record wants it to be seen. */
const MAX_NOTHING_KEPT = 300_000
/** That nobody could tell (RFC 2308 7). */
const FAILURE_KEPT = 5000

const MAX_ENTRIES = 4096
const MAX_BYTES = 4 * 1024 * 1024
/** Of an entry and of each of its records, beside their texts. */
const OVERHEAD = 120

const MAX_OPEN = 64
const MAX_WAITING = 1000

const LOOPBACK = { A: '127.0.0.1', AAAA: '::1' } as const

/**
 * Asks DNS servers that look further by themselves (a stub resolver, RFC 1034 5.3.1), and keeps what they say as long as it
 * holds. Bounded in what it keeps and in what it asks at a time; the same question is asked once.
 */
export class Resolver {
  readonly #now: () => number
  readonly #rounds: readonly number[]
  readonly #hosts: HostsFile
  readonly #kept = new Weighed<string, Kept>(MAX_ENTRIES, MAX_BYTES)
  readonly #open = new Map<string, Promise<Kept>>()
  readonly #limit = new Limit(MAX_OPEN, MAX_WAITING, () => new DnsError('too many questions are open'))
  readonly #closed = new AbortController()
  readonly #server: DnsServer | undefined
  #system: { servers: readonly DnsServer[]; until: number } = { servers: [], until: 0 }

  constructor({ server, now = Date.now, hosts = '/etc/hosts', rounds = ROUNDS }: ResolverOptions = {}) {
    this.#server = server
    this.#now = now
    this.#hosts = new HostsFile(hosts)
    this.#rounds = rounds
  }

  /**
   * @param name as `asciiName` writes it
   * @returns in no order; rejects with a DnsError
   */
  srv(name: string): Promise<Records<Srv>> {
    return this.#find('SRV', name) as Promise<Records<Srv>>
  }

  /**
   * Addresses of one family, by the system's list of hosts where its servers are asked. Names below `localhost` are this
   * machine's (RFC 6761 6.3).
   *
   * @param name as `asciiName` writes it
   * @returns rejects with a DnsError
   */
  async addresses(name: string, family: 4 | 6): Promise<Records<string>> {
    const type = family === 4 ? 'A' : 'AAAA'
    if (specialName(name) === 'loopback') return [LOOPBACK[type]]
    const listed = this.#server === undefined ? await this.#hosts.find(name) : undefined
    return listed?.[family] ?? ((await this.#find(type, name)) as Records<string>)
  }

  /** Answers kept, and about how many bytes they take. */
  get kept(): { number: number; bytes: number } {
    return { number: this.#kept.size, bytes: this.#kept.weight }
  }

  /** What is asked is given up; nothing more is. */
  close(): void {
    this.#closed.abort(new DnsError('the server stops'))
  }

  async #find(type: RecordType, name: string): Promise<Kept['records']> {
    if (specialName(name) !== undefined) return []
    const { records, error } = await this.#keep(type, name)
    if (error !== undefined) throw error
    return records
  }

  #keep(type: RecordType, name: string): Kept | Promise<Kept> {
    const key = `${type} ${name}`
    const kept = this.#kept.get(key)
    if (kept !== undefined && kept.until > this.#now()) return kept
    let open = this.#open.get(key)
    if (open === undefined) {
      open = this.#limit.run(() => this.#ask({ type, name })).finally(() => this.#open.delete(key))
      this.#open.set(key, open)
    }
    return open
  }

  async #ask(question: Question): Promise<Kept> {
    const kept = await this.#follow(question).catch((error: unknown): Kept => {
      if (!(error instanceof DnsError)) throw error
      return { until: this.#now() + FAILURE_KEPT, records: [], error }
    })
    this.#kept.set(`${question.type} ${question.name}`, kept, weightOf(question, kept))
    return kept
  }

  async #follow(question: Question): Promise<Kept> {
    let { name } = question
    let ttl = Number.POSITIVE_INFINITY
    for (let aliases = 0; aliases <= MAX_ALIASES; aliases++) {
      const reply = await this.#exchange({ ...question, name })
      ttl = Math.min(ttl, reply.ttl ?? 0)
      if (reply.alias === undefined) {
        const most = reply.records.length > 0 ? MAX_KEPT : MAX_NOTHING_KEPT
        const until = this.#now() + Math.min(Math.max(ttl * 1000, MIN_KEPT), most)
        return { until, records: reply.records, error: undefined }
      }
      name = reply.alias
    }
    throw new DnsError(`${question.name} (${question.type}): its aliases lead nowhere`)
  }

  /**
   * Asks one server after the other, in rounds; an answer counts also when it comes while the next is asked already. Who says
   * that it cannot tell is not asked again.
   */
  #exchange(question: Question): Promise<Reply> {
    const servers = this.#servers()
    const plan = this.#rounds.flatMap(wait => servers.map(server => ({ server, wait })))
    const failures = new Map<DnsServer, string>()
    return new Promise((resolve, reject) => {
      const stop = new AbortController()
      let timer: NodeJS.Timeout | undefined
      const end = (settle: () => void): void => {
        clearTimeout(timer)
        this.#closed.signal.removeEventListener('abort', closed)
        stop.abort()
        settle()
      }
      const closed = (): void => end(() => reject(this.#closed.signal.reason))
      const failed = (): void => {
        const reasons = servers.map(server => `${endpoint(server)} ${failures.get(server) ?? 'gave no answer'}`)
        const said = reasons.join(', ') || 'no DNS server is known'
        end(() => reject(new DnsError(`${question.name} (${question.type}): ${said}`)))
      }
      const next = (): void => {
        clearTimeout(timer)
        const step = plan.shift()
        if (step === undefined) return failed()
        if (failures.has(step.server)) return next()
        timer = setTimeout(next, step.wait)
        exchange(step.server, question, stop.signal).then(
          reply => {
            if (reply.code === 'NOERROR' || reply.code === 'NXDOMAIN') end(() => resolve(reply))
            else gone(step.server, `answered ${reply.code}`)
          },
          (error: unknown) => gone(step.server, `failed (${error instanceof Error ? error.message : String(error)})`),
        )
      }
      const gone = (server: DnsServer, reason: string): void => {
        if (stop.signal.aborted) return
        failures.set(server, reason)
        // Where only those are left that were asked and have not answered, they have the rest of their time.
        if (failures.size === servers.length || plan.some(step => !failures.has(step.server))) next()
      }
      if (this.#closed.signal.aborted) return closed()
      this.#closed.signal.addEventListener('abort', closed)
      next()
    })
  }

  #servers(): readonly DnsServer[] {
    if (this.#server !== undefined) return [this.#server]
    if (this.#system.until <= this.#now()) {
      // A new one reads what the system says now; the old ones keep what it said when they were made.
      const found = new SystemResolver().getServers().flatMap(text => parseServer(text, 53) ?? [])
      this.#system = { servers: found.slice(0, MAX_SERVERS), until: this.#now() + SERVERS_KEPT }
    }
    return this.#system.servers
  }
}

/** `ip`, `ip:port` or `[ip]:port`; undefined where it is none of them, or has no port and none is usual. */
export function parseServer(text: string, usual?: number): DnsServer | undefined {
  if (isIP(text)) return usual === undefined ? undefined : { ip: text, port: usual }
  const found = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text)
  const ip = found?.[1] ?? found?.[2] ?? ''
  const port = found?.[3] === undefined ? usual : Number(found[3])
  return isIP(ip) && port !== undefined && port > 0 && port < 0x10000 ? { ip, port } : undefined
}

function weightOf({ name }: Question, { records, error }: Kept): number {
  let weight = OVERHEAD + name.length + (error?.message.length ?? 0)
  for (const record of records) weight += OVERHEAD + (typeof record === 'string' ? record : record.target).length
  return weight
}
