import type { Dialled, Dialler } from '../net/dial.ts'
import { DialError, type Place } from '../net/targets.ts'
import { type Flusher, SocketTransport, type Transport } from '../net/transport.ts'
import { endpoint } from '../util/address.ts'
import type { Reached } from './outgoing.ts'
import { PeerError, Redirection } from './peererror.ts'

/** One try on one connection. */
export interface Try<T> {
  /** Rejects with a PeerError where nothing comes of this connection: there may be another one. */
  readonly done: Promise<T>
  /** Time is up, or nobody wants it any more. */
  readonly abandon: (why: string) => void
}

/** Reaches the servers of a domain, one after the other until one will do. */
export class Dial {
  readonly #dialler: () => Dialler
  readonly #flusher: Flusher

  constructor(dialler: () => Dialler, flusher: Flusher) {
    this.#dialler = dialler
    this.#flusher = flusher
  }

  /**
   * @param timeout ms for all of it
   * @param attempt what is done with a connection
   * @throws PeerError saying of each that was tried why it would not do
   */
  async reach<T>(
    domain: string,
    timeout: number,
    attempt: (transport: Transport, reached: Reached) => Try<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const late = AbortSignal.timeout(timeout)
    const until = signal === undefined ? late : AbortSignal.any([late, signal])
    const failures: PeerError[] = []
    const one = (dialled: Dialled): Promise<T> => this.#one(dialled, attempt, until)
    try {
      return await this.#each(this.#dialler().connect(domain, { signal: until }), one, failures, until)
    } catch (error) {
      throw this.#failure(domain, error, failures, late, timeout)
    }
  }

  /** @param place where one of the domain's servers has sent us: who is sent further goes nowhere */
  async #each<T>(
    dialling: AsyncIterable<Dialled>,
    one: (dialled: Dialled) => Promise<T>,
    failures: PeerError[],
    until: AbortSignal,
    place?: Place,
  ): Promise<T> {
    for await (const dialled of dialling) {
      try {
        return await one(dialled)
      } catch (error) {
        if (!(error instanceof PeerError)) throw error
        failures.push(error)
        until.throwIfAborted()
        if (!(error instanceof Redirection) || place !== undefined) continue
        try {
          const there = this.#dialler().at(error.place, { signal: until })
          return await this.#each(there, one, failures, until, error.place)
        } catch (reason) {
          if (!(reason instanceof DialError)) throw reason
          failures.push(new PeerError(reason.condition, reason.message, { cause: reason }))
        }
      }
    }
    throw new Error('a dialler ends with an error')
  }

  async #one<T>(
    { socket, direct, host, peer }: Dialled,
    attempt: (transport: Transport, reached: Reached) => Try<T>,
    until: AbortSignal,
  ): Promise<T> {
    const place = `${host === peer.ip ? '' : `${host}, `}${endpoint(peer)}`
    let stop = (): void => {}
    try {
      const one = attempt(new SocketTransport(socket, peer, this.#flusher), { place, direct })
      stop = () => one.abandon('it took too long')
      if (until.aborted) stop()
      else until.addEventListener('abort', stop)
      return await one.done
    } catch (error) {
      if (!(error instanceof PeerError)) socket.destroy()
      throw error
    } finally {
      until.removeEventListener('abort', stop)
    }
  }

  #failure(
    domain: string,
    error: unknown,
    failures: readonly PeerError[],
    late: AbortSignal,
    timeout: number,
  ): unknown {
    const told = failures.map(({ text }) => text)
    if (late.aborted) {
      told.push(`${domain}: it took longer than ${timeout / 1000} s (s2s.connect_timeout)`)
      return new PeerError('remote-server-timeout', told.join('; '))
    }
    if (!(error instanceof DialError)) return error
    const [first] = failures
    // What a server has said of itself counts for more than that there was no other.
    if (first !== undefined) return new PeerError(failures.at(-1)!.condition, told.join('; '))
    return new PeerError(error.condition, error.message, { cause: error })
  }
}
