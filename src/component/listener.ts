import type { ConnectionCounter } from '../net/connections.ts'
import { Listener, type PortSettings } from '../net/listener.ts'
import { Shaper, type ShaperLimits } from '../net/shaper.ts'
import { SocketTransport } from '../net/transport.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { Components } from './components.ts'
import type { ComponentServer } from './server.ts'
import { ComponentStream, type ComponentStreamSettings } from './stream.ts'

export interface ComponentListenerSettings extends PortSettings, Omit<ComponentStreamSettings, 'shaper' | 'starttls'> {
  tls: 'direct' | 'starttls' | 'required' | 'off'
  /** Undefined: no limit. */
  shaper: ShaperLimits | undefined
}

const STARTTLS = { direct: 'off', starttls: 'optional', required: 'required', off: 'off' } as const

/** One port that components connect to (XEP-0114: `jabber:component:accept`). */
export class ComponentListener extends Listener<ComponentListenerSettings> {
  readonly streams: ReadonlySet<ComponentStream>

  constructor(
    server: ComponentServer,
    components: Components,
    settings: ComponentListenerSettings,
    counter: ConnectionCounter,
  ) {
    const streams = new Set<ComponentStream>()
    const around = { log: server.log, counter, prelogin: server.prelogin, secure: () => server.tls.options(false) }
    super(around, settings, (socket, peer, crowded) => {
      const now = this.settings
      const own = { ...now, starttls: STARTTLS[now.tls], shaper: now.shaper && new Shaper(now.shaper) }
      const transport = new SocketTransport(socket, peer, server.flusher)
      const stream = new ComponentStream(server, components, transport, own, () => streams.delete(stream))
      streams.add(stream)
      stream.xmpp.accept()
      if (crowded) stream.fail(new StreamError('policy-violation', 'too many connections from your address'))
    })
    this.streams = streams
  }
}
