import type { ConnectionCounter } from '../net/connections.ts'
import { STARTTLS, StreamListener, type StreamPortSettings } from '../stream/listener.ts'
import type { C2SServer } from './server.ts'
import { C2SStream, type C2SStreamSettings } from './stream.ts'

export interface ListenerSettings extends StreamPortSettings, Omit<C2SStreamSettings, 'shaper' | 'starttls'> {
  tls: keyof typeof STARTTLS
}

/** One port that clients connect to (RFC 6120 3; direct TLS: XEP-0368). */
export class C2SListener extends StreamListener<ListenerSettings> {
  readonly streams: ReadonlySet<C2SStream>

  constructor(c2s: C2SServer, settings: ListenerSettings, counter: ConnectionCounter) {
    const streams = new Set<C2SStream>()
    super(
      c2s,
      () => c2s.tls.options(true),
      settings,
      counter,
      (transport, now) => {
        const own = { ...now, starttls: STARTTLS[now.tls] }
        const stream = new C2SStream(c2s, transport, own, () => streams.delete(stream))
        streams.add(stream)
        return stream
      },
    )
    this.streams = streams
  }
}
