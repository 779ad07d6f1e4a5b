import { connect, type Socket } from 'node:net'

/** Who has addresses of one family may start; how long the other is waited for (RFC 8305 3), in ms. */
const RESOLUTION_DELAY = 50
/** Between the start of one attempt and the next (RFC 8305 5). */
const ATTEMPT_DELAY = 250
/** Two further SYNs are sent in it (RFC 6298). */
const GIVE_UP = 5000
const SOCKETS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000, autoSelectFamily: false }

type Family = 4 | 6
const FAMILIES = [6, 4] as const

export interface RaceOptions {
  readonly port: number
  /** Its addresses; rejects where nobody tells. */
  readonly lookup: (family: Family) => Promise<readonly string[]>
  /** Is told in words of what failed: a connection to an address, or a look-up. */
  readonly failed: (reason: string, ip?: string) => void
}

/** The addresses of one host, tried side by side, one shortly after the other (RFC 8305): the first that connects is taken. */
export class Race {
  readonly #options: RaceOptions
  readonly #left: Record<Family, string[]> = { 4: [], 6: [] }
  readonly #running = new Map<Socket, { ip: string; family: Family }>()
  #lookups = 2
  #last: Family = 4
  /** Nothing is started before. */
  #pause: NodeJS.Timeout | undefined
  #timer: NodeJS.Timeout | undefined
  #done: ((socket: Socket | undefined) => void) | undefined

  constructor(options: RaceOptions) {
    this.#options = options
    for (const family of FAMILIES) void this.#lookup(family)
  }

  /**
   * The next connection, of addresses that were not tried yet or not to their end; undefined: none is left. Not to be called
   * while a call is open. After it, nothing is open but what was returned.
   */
  next(signal: AbortSignal): Promise<Socket | undefined> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(this.#timer)
        clearTimeout(this.#pause)
        this.#timer = undefined
        this.#pause = undefined
        this.#done = undefined
        signal.removeEventListener('abort', aborted)
        for (const [socket, { ip, family }] of this.#running) {
          this.#left[family].unshift(ip)
          socket.destroy()
        }
        this.#running.clear()
      }
      const aborted = (): void => {
        end()
        reject(signal.reason)
      }
      this.#done = socket => {
        end()
        resolve(socket)
      }
      if (signal.aborted) return aborted()
      signal.addEventListener('abort', aborted)
      this.#advance()
    })
  }

  async #lookup(family: Family): Promise<void> {
    try {
      this.#left[family] = [...(await this.#options.lookup(family))]
    } catch (error) {
      this.#options.failed(error instanceof Error ? error.message : String(error))
    }
    // IPv6 is waited for a little, IPv4 not.
    const waits = --this.#lookups > 0 && family === 4 && this.#left[4].length > 0
    if (waits) this.#wait(RESOLUTION_DELAY)
    else if (this.#running.size === 0) this.#hurry()
    else this.#advance()
  }

  #wait(delay: number): void {
    clearTimeout(this.#pause)
    this.#pause = setTimeout(() => this.#hurry(), delay)
  }

  #hurry(): void {
    clearTimeout(this.#pause)
    this.#pause = undefined
    this.#advance()
  }

  #advance(): void {
    if (this.#done === undefined || this.#pause !== undefined) return
    const other = this.#last === 4 ? 6 : 4
    const family = this.#left[other].length > 0 ? other : this.#last
    const ip = this.#left[family].shift()
    if (ip !== undefined) {
      this.#last = family
      this.#start(ip, family)
      this.#wait(ATTEMPT_DELAY)
    } else if (this.#running.size === 0 && this.#lookups === 0) this.#done(undefined)
  }

  #start(ip: string, family: Family): void {
    const { port, failed } = this.#options
    const socket = connect({ host: ip, port, ...SOCKETS })
    this.#running.set(socket, { ip, family })
    this.#timer ??= setTimeout(() => this.#giveUp(), GIVE_UP)
    // Stays: whoever takes the socket has it from its next turn on.
    socket.on('error', error => {
      if (!this.#running.delete(socket)) return
      failed(reasonOf(error), ip)
      this.#hurry()
    })
    socket.once('connect', () => {
      if (this.#running.delete(socket)) this.#done?.(socket)
    })
  }

  #giveUp(): void {
    for (const [socket, { ip }] of this.#running) {
      this.#options.failed(`did not answer in ${GIVE_UP / 1000} s`, ip)
      socket.destroy()
    }
    this.#running.clear()
    this.#done?.(undefined)
  }
}

function reasonOf(error: Error): string {
  const code = 'code' in error ? error.code : undefined
  if (code === 'ECONNREFUSED') return 'refused the connection (nobody listens there)'
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH') return 'cannot be reached from here (no route)'
  if (code === 'ETIMEDOUT') return 'did not answer'
  if (code === 'ECONNRESET') return 'reset the connection'
  return `failed (${error.message})`
}
