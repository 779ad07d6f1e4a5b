import type { ConnectionCounter } from '../net/connections.ts'
import { Listener, type PortSettings } from '../net/listener.ts'
import { Shaper, type ShaperLimits } from '../net/shaper.ts'
import { SocketTransport } from '../net/transport.ts'
import type { StreamSettings } from '../stream/stream.ts'
import { StreamError } from '../xmpp/errors.ts'
import { IncomingStream } from './incoming.ts'
import type { S2SServer } from './server.ts'

export interface S2SListenerSettings extends PortSettings, Omit<StreamSettings, 'shaper'> {
  tls: 'direct' | 'required'
  /** Undefined: no limit. */
  shaper: ShaperLimits | undefined
}

/** One port that other servers connect to (RFC 6120 3.2; direct TLS: XEP-0368). */
export class S2SListener extends Listener<S2SListenerSettings> {
  constructor(server: S2SServer, settings: S2SListenerSettings, counter: ConnectionCounter) {
    const { log, prelogin, tls } = server
    super({ log, counter, prelogin, secure: () => tls.accept(true) }, settings, (socket, peer, crowded) => {
      const { shaper, ...now } = this.settings
      const own = { ...now, shaper: shaper && new Shaper(shaper) }
      const stream = new IncomingStream(server, new SocketTransport(socket, peer, server.flusher), own)
      stream.xmpp.accept()
      if (crowded) stream.fail(new StreamError('policy-violation', 'too many connections from your address'))
    })
  }
}
