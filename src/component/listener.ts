import type { ConnectionCounter } from '../net/connections.ts'
import { STARTTLS, StreamListener, type StreamPortSettings } from '../stream/listener.ts'
import type { Components } from './components.ts'
import type { ComponentServer } from './server.ts'
import { ComponentStream, type ComponentStreamSettings } from './stream.ts'

export interface ComponentListenerSettings
  extends StreamPortSettings,
    Omit<ComponentStreamSettings, 'shaper' | 'starttls'> {
  tls: keyof typeof STARTTLS
}

/** One port that components connect to (XEP-0114: `jabber:component:accept`). */
export class ComponentListener extends StreamListener<ComponentListenerSettings> {
  readonly streams: ReadonlySet<ComponentStream>

  constructor(
    server: ComponentServer,
    components: Components,
    settings: ComponentListenerSettings,
    counter: ConnectionCounter,
  ) {
    const streams = new Set<ComponentStream>()
    super(
      server,
      () => server.tls.options(false),
      settings,
      counter,
      (transport, now) => {
        const own = { ...now, starttls: STARTTLS[now.tls] }
        const stream = new ComponentStream(server, components, transport, own, () => streams.delete(stream))
        streams.add(stream)
        return stream
      },
    )
    this.streams = streams
  }
}
