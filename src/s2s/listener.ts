import type { ConnectionCounter } from '../net/connections.ts'
import { StreamListener, type StreamPortSettings } from '../stream/listener.ts'
import type { StreamSettings } from '../stream/stream.ts'
import { IncomingStream } from './incoming.ts'
import type { S2SServer } from './server.ts'

export interface S2SListenerSettings extends StreamPortSettings, Omit<StreamSettings, 'shaper'> {
  tls: 'direct' | 'required'
}

/** One port that other servers connect to (RFC 6120 3.2; direct TLS: XEP-0368). */
export class S2SListener extends StreamListener<S2SListenerSettings> {
  constructor(server: S2SServer, settings: S2SListenerSettings, counter: ConnectionCounter) {
    super(
      server,
      () => server.tls.accept(true),
      settings,
      counter,
      (transport, now) => {
        return new IncomingStream(server, transport, now)
      },
    )
  }
}
