import { type Element, textOf } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { answerTo, conditionOf, pairOf, requestFor, type Verdict, verificationOf } from './dialback.ts'
import { type Pair, pairKey } from './pair.ts'
import type { S2SStream } from './stream.ts'

/** Pairs of one stream; more are refused. */
const MAX_PAIRS = 1000
/** Keys of one stream that are being verified, and pairs that we wait for. */
const MAX_PENDING = 50
/** How long a peer may take to say yes to a pair (ms): it asks another server first. */
const PATIENCE = 30_000

interface Waiting {
  readonly settle: (verdict: string) => void
  readonly timer: NodeJS.Timeout
}

/** Dialback on one stream (XEP-0220), in each of its roles: asking for pairs, being asked for them, vouching for our keys. */
export class Pairing {
  readonly #stream: S2SStream
  /** Pairs that we asked for on this stream. */
  readonly #requests = new Map<string, Waiting>()
  /** Pairs that the peer asks for, while that is looked into. */
  readonly #pending = new Set<string>()

  constructor(stream: S2SStream) {
    this.#stream = stream
  }

  /** An element of dialback. What answers no request of this stream means nothing (XEP-0220 4.1). */
  handle(el: Element): void {
    const { name } = el
    const pair = pairOf(el)
    if (pair === undefined) throw new StreamError('improper-addressing', `db:${name} needs two domains`)
    const type = el.attrs['type']
    if (name === 'result') {
      if (type === undefined) this.#asked(pair, textOf(el).trim())
      else this.#answered(pair, type === 'error' ? conditionOf(el) : type)
    } else if (name === 'verify' && type === undefined) this.#vouch(pair, el.attrs['id'] ?? '', textOf(el).trim())
    else if (name === 'verify')
      this.#stream.verified(pair, el.attrs['id'] ?? '', type === 'error' ? conditionOf(el) : type!)
    else throw new StreamError('unsupported-stanza-type', 'that is no element of dialback')
  }

  // ---- we ask

  /**
   * Asks the peer whether we may send for a pair. Resolves with what it says: `valid`, `invalid` or a condition (XEP-0220 2.4);
   * `remote-server-timeout` where it says nothing in time, or the stream is gone.
   */
  request(pair: Pair): Promise<string> {
    const stream = this.#stream
    const { talk } = stream
    const streamId = stream.xmpp.id
    const key = pairKey(pair)
    if (talk?.sends.has(pair.local, pair.remote) === true) return Promise.resolve('valid')
    if (streamId === undefined || stream.closing || !stream.mayRequest(pair)) return Promise.resolve('not-acceptable')
    if (this.#requests.has(key) || this.#requests.size >= MAX_PENDING) return Promise.resolve('resource-constraint')
    return new Promise(resolve => {
      const settle = (verdict: string): void => {
        clearTimeout(timer)
        this.#requests.delete(key)
        if (verdict === 'valid') stream.granted(pair)
        resolve(verdict)
      }
      const timer = setTimeout(() => settle('remote-server-timeout'), PATIENCE)
      this.#requests.set(key, { settle, timer })
      stream.xmpp.send(requestFor(pair, stream.server.keys.keyFor(pair, streamId)))
    })
  }

  /** Asks the peer whether a key is its own, on behalf of another stream (XEP-0220 2.1.2). */
  askWhether(pair: Pair, id: string, key: string): void {
    this.#stream.xmpp.send(verificationOf(pair, id, key))
  }

  #answered(pair: Pair, verdict: string): void {
    const waiting = this.#requests.get(pairKey(pair))
    if (waiting !== undefined) return waiting.settle(verdict)
    const { server, remote, ip } = this.#stream
    server.log.debug({ domain: remote, ip, ...pair }, 'a db:result that was not asked for was ignored')
  }

  /** The stream is gone. */
  parted(): void {
    for (const { settle } of [...this.#requests.values()]) settle('remote-server-timeout')
  }

  // ---- we are asked

  #asked(pair: Pair, key: string): void {
    const stream = this.#stream
    if (!stream.mayAsk) throw new StreamError('not-authorized', 'stanzas go one way on this stream')
    const say = (verdict: Verdict): void => void stream.xmpp.send(answerTo('result', pair, undefined, verdict))
    if (stream.talk?.receives.has(pair.local, pair.remote) === true) return say('valid')
    const refusal = this.#refusal(pair)
    if (refusal !== undefined) return say(refusal)
    const name = pairKey(pair)
    if (this.#pending.has(name)) return
    if (this.#pending.size >= MAX_PENDING) return say('resource-constraint')
    this.#pending.add(name)
    this.#verify(pair, key, say)
      .catch((error: unknown) => stream.xmpp.failWith(error))
      .finally(() => this.#pending.delete(name))
  }

  /** Why a pair is refused before its key is looked at. */
  #refusal(pair: Pair): Verdict | undefined {
    const { server, secured, talk, xmpp } = this.#stream
    const { settings } = server
    if (!secured) return 'policy-violation'
    if (xmpp.id === undefined || !server.serves(pair.local)) return 'item-not-found'
    if (server.serves(pair.remote) || !settings.allows(pair.remote)) return 'policy-violation'
    if ((talk?.receives.size ?? 0) >= MAX_PAIRS) return 'resource-constraint'
    if (settings.policyFor(pair.remote) === 'required') return undefined
    const { valid, reason } = this.#stream.judge(pair.remote)
    if (valid) return undefined
    this.#tell(pair, `its certificate is not valid: ${reason}`)
    return 'not-authorized'
  }

  async #verify(pair: Pair, key: string, say: (verdict: Verdict) => void): Promise<void> {
    const stream = this.#stream
    const { verdict, reason } = await stream.server.verifier.verify(pair, stream.xmpp.id!, key, stream.ip)
    if (stream.closing) return
    if (verdict === 'valid') {
      // While that took time a domain may have gone, or a rule changed.
      const refusal = this.#refusal(pair)
      if (refusal !== undefined) return say(refusal)
      stream.admit(pair, 'dialback')
      say('valid')
      return stream.admitted()
    }
    this.#tell(pair, reason)
    if (verdict !== 'invalid') return say(verdict)
    // XEP-0220 2.2.1: one that lies has nothing more to say, unless others of its pairs are in order.
    if (stream.talk !== undefined) return say('forbidden')
    say('invalid')
    stream.close()
  }

  #tell({ local, remote }: Pair, reason: string): void {
    const { server, ip } = this.#stream
    const level = server.notices.isNew(remote, `dialback ${reason}`) ? 'warn' : 'debug'
    server.log[level]({ domain: remote, local, ip, reason }, 'another server could not show that it is who it says')
  }

  // ---- we vouch

  /** Whether a key is ours: the server that asks has got it on a stream with this id (XEP-0220 2.2.2). */
  #vouch(pair: Pair, id: string, key: string): void {
    const { server, secured, xmpp } = this.#stream
    const say = (verdict: Verdict): void => void xmpp.send(answerTo('verify', pair, id, verdict))
    if (!secured) return say('policy-violation')
    if (!server.serves(pair.local)) return say('item-not-found')
    say(server.keys.matches(pair, id, key) ? 'valid' : 'invalid')
  }
}
