import type { TLSSocketOptions } from 'node:tls'
import type { ConnectionCounter } from '../net/connections.ts'
import { Listener, type PortSettings } from '../net/listener.ts'
import { Shaper, type ShaperLimits } from '../net/shaper.ts'
import { type Flusher, SocketTransport, type Transport } from '../net/transport.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { StreamServer, XmppStream } from './stream.ts'

/** A server whose streams come in by ports. */
export interface ListeningServer extends StreamServer {
  readonly flusher: Flusher
}

/** Whether STARTTLS is offered, by the `tls` of a port. */
export const STARTTLS = { direct: 'off', starttls: 'optional', required: 'required', off: 'off' } as const

export interface StreamPortSettings extends PortSettings {
  /** Undefined: no limit. */
  shaper: ShaperLimits | undefined
}

/** Settings of a port, for one stream of it. */
export type OfStream<S extends StreamPortSettings> = Omit<S, 'shaper'> & { shaper: Shaper | undefined }

/** A port on which the peer begins a stream with each connection. */
export class StreamListener<S extends StreamPortSettings> extends Listener<S> {
  /**
   * @param secure how TLS is spoken with who connects now
   * @param begin makes the stream of a connection, by what the port goes by now
   */
  constructor(
    { log, prelogin, flusher }: ListeningServer,
    secure: () => TLSSocketOptions,
    settings: S,
    counter: ConnectionCounter,
    begin: (transport: Transport, settings: OfStream<S>) => { readonly xmpp: XmppStream },
  ) {
    super({ log, counter, prelogin, secure }, settings, (socket, peer, crowded) => {
      const { shaper, ...now } = this.settings
      const own = { ...now, shaper: shaper && new Shaper(shaper) }
      const { xmpp } = begin(new SocketTransport(socket, peer, flusher), own)
      xmpp.accept()
      if (crowded) xmpp.fail(new StreamError('policy-violation', 'too many connections from your address'))
    })
  }
}
