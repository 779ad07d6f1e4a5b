import { randomBytes } from 'node:crypto'
import {
  ConnectionCounter,
  createDerive,
  createLog,
  Failures,
  Flusher,
  IdGenerator,
  type Logger,
  PreLoginBudget,
  Rounds,
  type StreamSettings,
} from 'hermod/engine'

const KIB = 1024
const MIB = 1024 * KIB
const HEADER_BYTES = 10_000

/** What strangers may do to a server, and peers that are known; all of it is optional. */
export interface Bounds {
  /** Bytes of one stanza; default 262144. */
  maxStanzaSize?: number
  /** Ms from connecting to being ready for stanzas; default 30000. */
  authTimeout?: number
  /** Connections from one address at a time (of IPv6: one /64); default 200. */
  maxConnectionsPerAddress?: number
  /** Bytes that may wait for a peer that does not read; beyond, its connection is closed. Default 16 MiB. */
  maxBacklog?: number
  /** Ms of silence after which a space is sent; default 5 minutes. */
  keepalive?: number
  /** A logger (pino's is one); default: warnings and errors to standard error. */
  log?: Logger
}

/** What all connections of a server share. */
export class Surroundings {
  readonly ids = new IdGenerator()
  readonly rounds = new Rounds()
  readonly flusher = new Flusher()
  readonly prelogin = new PreLoginBudget(128 * MIB)
  readonly failures = new Failures()
  /** Of passwords, so many at a time. */
  readonly derive = createDerive()
  /** What salts are made of. */
  readonly secret = randomBytes(32)
  readonly counter: ConnectionCounter
  readonly log: Logger
  readonly maxBacklog: number
  readonly #bounds: Bounds

  constructor(bounds: Bounds) {
    this.#bounds = bounds
    this.counter = new ConnectionCounter(bounds.maxConnectionsPerAddress ?? 200)
    this.maxBacklog = bounds.maxBacklog ?? 16 * MIB
    this.log = bounds.log ?? defaultLog()
  }

  get preAuthTimeout(): number {
    return this.#bounds.authTimeout ?? 30_000
  }

  /** The bounds of the server itself (`listen` in its configuration). */
  streamSettings(): StreamSettings {
    const stanzaBytes = this.#bounds.maxStanzaSize ?? 256 * KIB
    const preAuthBytes = Math.min(stanzaBytes, 64 * KIB)
    return {
      limits: {
        stanzaBytes,
        depth: 64,
        attributes: 64,
        children: 10_000,
        treeBytes: Math.max(MIB, 8 * stanzaBytes),
        headerBytes: HEADER_BYTES,
      },
      preAuthLimits: {
        stanzaBytes: preAuthBytes,
        depth: 16,
        attributes: 32,
        children: 250,
        treeBytes: 128 * KIB,
        headerBytes: HEADER_BYTES,
      },
      preAuthTimeout: this.preAuthTimeout,
      preAuthBytes: 64 * KIB,
      keepalive: this.#bounds.keepalive ?? 300_000,
      shaper: undefined,
    }
  }
}

/** Warnings and errors, to standard error: standard output is the application's. */
export function defaultLog(): Logger {
  return createLog({ level: 'warn', format: 'json', destination: { write: line => process.stderr.write(line) } })
}
