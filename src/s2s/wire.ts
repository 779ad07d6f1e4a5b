import type { Element } from '../xml/index.ts'
import type { StreamError } from '../xmpp/errors.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Pair, PairSet } from './pair.ts'

/** How a pair of domains was authenticated: by certificate (RFC 6120 13.7), or by dialback (XEP-0220). */
export type Method = 'external' | 'dialback'

/** What is known of a stream with another server, for commands and the log. */
export interface StreamInfo {
  /** Who began it: they, or we. */
  readonly direction: 'in' | 'out'
  readonly ip: string
  readonly port: number
  /** As Node names it; undefined where it is not encrypted yet. */
  readonly tls: string | undefined
  /** Of the pair that was authenticated first; undefined before. */
  readonly method: Method | undefined
  /** Stanzas go both ways (XEP-0288). */
  readonly bidi: boolean
  /** Stream management is on (XEP-0198). */
  readonly sm: boolean
  /** ms since 1970. */
  readonly since: number
}

/** The connection of a conversation, as its stream lends it. None of these throws. */
export interface Wire {
  /** One stanza, or another element of the first level. */
  send(data: string | Buffer): void
  /** Bytes that the peer has not taken. */
  readonly backlog: number
  /** Bytes of the largest stanza that the peer takes, as far as it says so (XEP-0478); else `Infinity`. */
  readonly maxBytes: number
  /** Ends the stream with an error (RFC 6120 4.9). */
  fail(error: StreamError): void
  /** Drops the connection without a word: nobody is listening. */
  abandon(reason: string): void
  /** Closes the stream in order (RFC 6120 4.4): it will not be resumed. */
  close(): void
  /**
   * Asks the peer on this stream for one more pair (XEP-0220 2.6); where it says yes, the pair is among those that may be sent
   * for. False: it will not; open another stream.
   */
  authenticate(pair: Pair): Promise<boolean>
  readonly info: StreamInfo
}

/** What a stream asks of its conversation: what is said on it with another server, and goes on where it is resumed (XEP-0198 5). */
export interface Talk {
  /** Pairs that the peer may send for. Kept through resumptions, as the next. */
  readonly receives: PairSet
  /** Pairs that we may send for. */
  readonly sends: PairSet
  /** XEP-0198: as initiator the one that the peer gave; as receiver ours. Undefined: it may not be resumed. */
  resumeId: string | undefined
  /** All is negotiated; before it nothing is sent. */
  open(wire: Wire, how: 'sm' | 'ping'): void
  /** A stanza that was checked. Undefined: one that goes no further, and counts (XEP-0198 4). */
  receive(stanza: Stanza | undefined): void | Promise<void>
  /** The peer asked how far we are. */
  requested(): void
  /** The peer said how far it is. May throw a StreamError. */
  acknowledged(el: Element): void
  /** All stanzas up to this are safe: what may be told. */
  readonly h: number
  /** What was sent has gone out. */
  drained(): void
  /** Nothing is unacknowledged in either direction. */
  readonly quiet: boolean
  /** Resolves when that is so, or after `timeout` ms; then it was asked for, and told. */
  settled(timeout: number): Promise<void>
  /** The connection is gone: it waits to be resumed, or is over. */
  parted(wire: Wire, reason: string): void
  /** It goes on, on another wire; the peer has all up to `h`. May throw a StreamError. */
  resumed(wire: Wire, h: number): void
  /** It will not be resumed. `h`: what the peer had, where it says so. */
  over(h?: number): void
}
