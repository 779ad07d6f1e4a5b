import type { ConnectionCounter } from '../net/connections.ts'
import { Listener, type PortSettings } from '../net/listener.ts'
import { Shaper, type ShaperLimits } from '../net/shaper.ts'
import { SocketTransport } from '../net/transport.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { C2SServer } from './server.ts'
import { C2SStream, type C2SStreamSettings } from './stream.ts'

export interface ListenerSettings extends PortSettings, Omit<C2SStreamSettings, 'shaper' | 'starttls'> {
  tls: 'direct' | 'starttls' | 'required' | 'off'
  /** Undefined: no limit. */
  shaper: ShaperLimits | undefined
}

const STARTTLS = { direct: 'off', starttls: 'optional', required: 'required', off: 'off' } as const

/** One port that clients connect to (RFC 6120 3; direct TLS: XEP-0368). */
export class C2SListener extends Listener<ListenerSettings> {
  readonly streams: ReadonlySet<C2SStream>

  constructor(c2s: C2SServer, settings: ListenerSettings, counter: ConnectionCounter) {
    const streams = new Set<C2SStream>()
    const around = { log: c2s.log, counter, prelogin: c2s.prelogin, secure: () => c2s.tls.options(true) }
    super(around, settings, (socket, peer, crowded) => {
      const now = this.settings
      const own = { ...now, starttls: STARTTLS[now.tls], shaper: now.shaper && new Shaper(now.shaper) }
      const stream = new C2SStream(c2s, new SocketTransport(socket, peer, c2s.flusher), own, () => {
        streams.delete(stream)
      })
      streams.add(stream)
      stream.xmpp.accept()
      if (crowded) stream.fail(new StreamError('policy-violation', 'too many connections from your address'))
    })
    this.streams = streams
  }
}
