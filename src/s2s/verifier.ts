import type { Transport } from '../net/transport.ts'
import { networkOf } from '../util/address.ts'
import type { Dial } from './dial.ts'
import type { Verdict } from './dialback.ts'
import { OutgoingStream, type Reached } from './outgoing.ts'
import type { Pair } from './pair.ts'
import { PeerError } from './peererror.ts'
import type { S2SServer } from './server.ts'

/** Keys that are verified at a time: in all, of one domain, and for streams from one address. */
const MAX_ALL = 200
const MAX_OF_DOMAIN = 5
const MAX_OF_ADDRESS = 20
/** How long one may take (ms): shorter than the stream waits that asks for it. */
const PATIENCE = 20_000

/** What is known of a key, and why, where it is not in order. */
export interface Finding {
  readonly verdict: Verdict
  /** For the log. */
  readonly reason: string
}

/**
 * Asks the servers of other domains whether keys are theirs (XEP-0220 2.1.2). Whoever connects has us connect to somebody: so
 * that this is no weapon, there are few at a time, and each ends soon.
 */
export class Verifier {
  readonly #dial: Dial
  readonly #server: () => S2SServer
  #all = 0
  readonly #domains = new Map<string, number>()
  readonly #addresses = new Map<string, number>()

  constructor(dial: Dial, server: () => S2SServer) {
    this.#dial = dial
    this.#server = server
  }

  /** @param ip of the stream that the key came on. Never rejects. */
  async verify(pair: Pair, id: string, key: string, ip: string): Promise<Finding> {
    const network = networkOf(ip)
    const ofDomain = this.#domains.get(pair.remote) ?? 0
    const ofAddress = this.#addresses.get(network) ?? 0
    if (this.#all >= MAX_ALL || ofDomain >= MAX_OF_DOMAIN || ofAddress >= MAX_OF_ADDRESS) {
      return { verdict: 'resource-constraint', reason: 'too many keys are being verified' }
    }
    this.#count(pair.remote, network, 1)
    try {
      return findingOf(pair, await this.#ask(pair, id, key))
    } catch (error) {
      if (!(error instanceof PeerError)) throw error
      return { verdict: error.condition, reason: error.text }
    } finally {
      this.#count(pair.remote, network, -1)
    }
  }

  #count(domain: string, network: string, by: number): void {
    this.#all += by
    add(this.#domains, domain, by)
    add(this.#addresses, network, by)
  }

  #ask(pair: Pair, id: string, key: string): Promise<string> {
    const server = this.#server()
    return this.#dial.reach(pair.remote, PATIENCE, (transport, reached) => {
      const { promise, resolve, reject } = Promise.withResolvers<string>()
      const stream = new VerifyingStream(server, transport, pair, reached, { id, key, resolve, reject })
      stream.start()
      return { done: promise, abandon: why => stream.abandon(why) }
    })
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by
  if (count > 0) counts.set(key, count)
  else counts.delete(key)
}

function findingOf({ remote }: Pair, said: string): Finding {
  if (said === 'valid') return { verdict: 'valid', reason: '' }
  if (said === 'invalid') return { verdict: 'invalid', reason: `${remote} says that the key is not its own` }
  // XEP-0220 2.4
  return { verdict: 'remote-server-not-found', reason: `${remote} did not say whether the key is its own: ${said}` }
}

/** Asks whether a key is the other domain's own, on a stream for that alone. */
interface Question {
  readonly id: string
  readonly key: string
  readonly resolve: (verdict: string) => void
  readonly reject: (error: PeerError) => void
}

class VerifyingStream extends OutgoingStream {
  readonly #question: Question

  constructor(server: S2SServer, transport: Transport, pair: Pair, reached: Reached, question: Question) {
    super(server, transport, pair, reached)
    this.#question = question
  }

  get mayAsk(): boolean {
    return false
  }

  mayRequest(): boolean {
    return false
  }

  granted(): void {}
  admitted(): void {}

  protected failed(error: PeerError): void {
    this.#question.reject(error)
  }

  protected onFeatures(): void {
    this.pairing.askWhether(this.pair, this.#question.id, this.#question.key)
  }

  protected onAnswer(): boolean {
    return false
  }

  override verified(pair: Pair, id: string, verdict: string): void {
    const { local, remote } = this.pair
    if (id !== this.#question.id || pair.local !== local || pair.remote !== remote)
      return super.verified(pair, id, verdict)
    this.#question.resolve(verdict)
    this.close()
  }
}
