import { keepsForOthers } from '../core/delivery.ts'
import type { DestinationQueue } from '../core/queue/destinationqueue.ts'
import type { Entry } from '../core/queue/entry.ts'
import type { Waiting } from '../core/queue/queue.ts'
import type { Destination, Source } from '../core/router.ts'
import type { XmppStream } from '../stream/stream.ts'
import { StanzaError, StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { AskedIqs } from './askediqs.ts'
import { Backlog } from './backlog.ts'
import { shareOf } from './balance.ts'
import type { Connection } from './connection.ts'
import { type Habits, Outflow } from './outflow.ts'
import type { ComponentServer } from './server.ts'
import type { ComponentSettings } from './settings.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** A component has logged in that was not connected (XEP-0114); at every host. */
    component_connected: Told<{ component: Jid }>
    /** The last connection of a component is gone. */
    component_gone: Told<{ component: Jid }>
  }
}

/** Connections that one component may have where they are balanced. */
const MAX_CONNECTIONS = 100

/** A domain that a program outside of the server serves (XEP-0114), connected or not. */
export class Component implements Destination {
  readonly name: string
  readonly jid: Jid
  /** What comes here is for no host of this server. */
  readonly filter = undefined
  /** In the order in which they logged in. */
  readonly connections: Connection[] = []
  /** The messages for it. */
  readonly backlog: Backlog
  readonly #habits: Habits = { answers: undefined }
  /** What several connections have asked: the answer is for who did. */
  readonly #asked = new AskedIqs<Connection>()
  #settings: ComponentSettings
  readonly #server: ComponentServer
  /** Takes it out of the items of hosts. */
  #unlist: (() => void)[] = []

  /** @param queued is told of each message that is queued for it */
  constructor(
    settings: ComponentSettings,
    queue: DestinationQueue,
    queued: (entry: Entry) => void,
    server: ComponentServer,
  ) {
    this.name = settings.name
    this.jid = Jid.of('', settings.name)
    this.#settings = settings
    this.#server = server
    this.backlog = new Backlog(this, queue, queued, server.now)
  }

  get connected(): boolean {
    return this.connections.length > 0
  }

  get settings(): ComponentSettings {
    return this.#settings
  }

  /** It goes by other settings from now on; who knew another password has to log in again. */
  configure(settings: ComponentSettings): void {
    const changed = settings.password !== this.#settings.password
    this.#settings = settings
    if (changed) this.end(new StreamError('reset', 'the password was changed'))
    if (this.connections.length > 0) this.#list()
  }

  /** Ends all connections. */
  end(error: StreamError): void {
    for (const { stream } of [...this.connections]) stream.fail(error)
  }

  deliver(stanza: Stanza, { origin }: Source): void {
    if (!this.#mayReach(stanza.from)) throw new StanzaError('forbidden', `you may not reach ${this.name}`)
    if (this.#settings.queue !== undefined && keepsForOthers(stanza)) return this.backlog.push(stanza, origin)
    // Answers to the component are held back by nothing: it may wait for them before it reads on.
    const isAnswer = stanza.kind === 'iq' && !stanza.isRequest
    if (this.connected && !isAnswer && this.backlog.holds(stanza)) return
    this.#send(stanza)
  }

  pass(stanza: Stanza): void {
    try {
      this.#send(stanza)
    } catch (error) {
      void this.#server.router.bounce(stanza, error)
    }
  }

  #send(stanza: Stanza): void {
    const connection = this.#connectionFor(stanza)
    if (connection === undefined) return this.#away(stanza)
    connection.deliver(stanza)
  }

  waiting(_local: string, _remote: string, limit: number): Promise<readonly Waiting[]> {
    return this.backlog.queue.peek(limit)
  }

  /** What the server itself says is no matter of access. */
  #mayReach(from: Jid): boolean {
    return (from.local === '' && this.#server.router.hosts.has(from.domain)) || this.#settings.allowed(from)
  }

  #connectionFor(stanza: Stanza): Connection | undefined {
    const { connections } = this
    if (connections.length < 2) return connections[0]
    const asked = stanza.kind === 'iq' && !stanza.isRequest ? this.#asked.answered(stanza) : undefined
    if (asked !== undefined && connections.includes(asked)) return asked
    return this.shareOf(() => stanza.from)
  }

  /** Whose share a sender is; undefined where nobody is connected. */
  shareOf(sender: () => Jid | undefined): Connection | undefined {
    const { connections } = this
    if (connections.length < 2) return connections[0]
    return connections[shareOf(sender()?.bare.toString() ?? '', connections)]
  }

  /** One of its connections asks somebody something. */
  asks(request: Stanza, connection: Connection): void {
    if (this.connections.length > 1) this.#asked.add(request, connection)
  }

  /** RFC 6121 8.5: what nobody misses is dropped. The rest is refused as by a server that does not answer. */
  #away(stanza: Stanza): void {
    const { kind, type } = stanza
    if (type === 'error' || type === 'result') return
    if (kind === 'presence' && (type === 'unavailable' || type === 'probe')) return
    if (kind === 'message' && (type === 'headline' || !keepsForOthers(stanza))) return
    throw new StanzaError('remote-server-timeout', `${this.name} is not connected`)
  }

  // ---- its connections

  /** One more is about to come. Throws StreamError where it may not. */
  makeRoom(): void {
    const { conflict } = this.#settings
    if (this.connections.length === 0) return
    if (conflict === 'closeold') return this.end(new StreamError('conflict', 'the component has logged in once more'))
    if (conflict === 'closenew') throw new StreamError('conflict', 'the component is connected already')
    if (this.connections.length >= MAX_CONNECTIONS) {
      throw new StreamError('resource-constraint', `a component has at most ${MAX_CONNECTIONS} connections`)
    }
  }

  /** For a connection that is about to come. */
  outflow(stream: XmppStream): Outflow {
    const { log } = this.#server
    if (this.connections.length === 0) this.#habits.answers = undefined
    return new Outflow({
      stream,
      component: this.jid,
      by: () => this.#settings.by,
      habits: this.#habits,
      patience: () => this.#settings.ackTimeout,
      confirm: entry => this.backlog.confirm(entry),
      deaf: () =>
        log.warn(
          { component: this.name },
          'a component does not answer pings (XEP-0199): messages count as delivered though it may not have them',
        ),
    })
  }

  joined(connection: Connection): void {
    const { log, router } = this.#server
    const { transport } = connection.stream
    log.info({ component: this.name, ip: transport.peer.ip, tls: transport.protocol }, 'a component logged in')
    const first = this.connections.push(connection) === 1
    this.backlog.joined()
    if (!first) return
    this.#list()
    for (const { hooks } of router.hosts.values()) hooks.notify('component_connected', { component: this.jid })
  }

  /** @param entries what the connection has not confirmed; `hasRead`: where it was closed in order, whether it has it */
  left(connection: Connection, reason: string, entries: readonly Entry[], hasRead?: Promise<boolean>): void {
    const at = this.connections.indexOf(connection)
    if (at >= 0) this.connections.splice(at, 1)
    if (hasRead === undefined) this.backlog.left(entries)
    else void this.backlog.closed(entries, hasRead)
    if (at < 0) return
    const { log, router } = this.#server
    log.info({ component: this.name, ip: connection.stream.transport.peer.ip, reason }, 'a component is gone')
    if (this.connections.length > 0) return
    this.#takeOff()
    for (const { hooks } of router.hosts.values()) hooks.notify('component_gone', { component: this.jid })
  }

  /** Among the items of its hosts while it is connected: who asks there is answered. */
  #list(): void {
    this.#takeOff()
    const { label, itemsOf } = this.#settings
    this.#unlist = itemsOf.flatMap(name => {
      const host = this.#server.router.hosts.get(name)
      return host === undefined ? [] : [host.disco.addItem({ jid: this.name, ...(label && { name: label }) })]
    })
  }

  #takeOff(): void {
    for (const undo of this.#unlist.splice(0)) undo()
  }
}
