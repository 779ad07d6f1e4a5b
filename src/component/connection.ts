import type { Entry } from '../core/queue/entry.ts'
import type { XmppStream } from '../stream/stream.ts'
import { cut } from '../util/text.ts'
import { childElements, type Element, NS } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { isStanzaName, Stanza } from '../xmpp/stanza.ts'
import { AskedIqs } from './askediqs.ts'
import type { Component } from './component.ts'
import { readStanza } from './incoming.ts'
import type { Outflow } from './outflow.ts'
import type { ComponentServer } from './server.ts'

/** Bytes that a component may leave unread; with more it is taken for dead. */
const MAX_BACKLOG = 8 * 1024 * 1024

/** A component that has logged in, on one stream. */
export class Connection {
  readonly component: Component
  readonly stream: XmppStream
  /** Nobody can guess it. */
  readonly id: string
  /** Ms since 1970. */
  readonly since: number
  /** Queued messages that it was sent. */
  readonly outflow: Outflow
  readonly #server: ComponentServer
  readonly #asked = new AskedIqs<true>()
  #gone = false

  constructor(component: Component, stream: XmppStream, server: ComponentServer) {
    this.component = component
    this.stream = stream
    this.id = server.ids.random()
    this.since = server.now()
    this.#server = server
    this.outflow = component.outflow(stream)
  }

  // ---- from the component

  /** Throws StreamError. */
  receive(el: Element): void | Promise<void> {
    const { component, stream } = this
    const { name } = el
    const { xmlns } = el.attrs
    if (xmlns === NS.STREAM && name === 'error') return this.#complained(el)
    if ((xmlns !== undefined && xmlns !== NS.CLIENT) || !isStanzaName(name)) {
      throw new StreamError('unsupported-stanza-type', `<${cut(name, 50)}/> is unknown here`)
    }
    if (xmlns !== undefined) delete el.attrs['xmlns']
    this.#server.counters.received.value++
    // RFC 6120 8.1.5: what names no language is in that of the stream.
    if (stream.lang !== undefined && el.attrs['xml:lang'] === undefined) el.attrs['xml:lang'] = stream.lang
    const stanza = readStanza(component.jid, el, name)
    if (!(stanza instanceof Stanza)) {
      if (stanza.refusal !== undefined) this.deliver(stanza.refusal)
      return
    }
    if (stanza.kind === 'iq') return this.#iq(stanza)
    return this.#server.router.route(stanza)
  }

  /** The component ends the stream with an error (RFC 6120 4.9.1.1); its end follows. */
  #complained(el: Element): void {
    const why = childElements(el).find(({ name }) => name !== 'text')?.name ?? 'error'
    this.#server.log.warn(
      { component: this.component.name, why: cut(why, 50) },
      'a component ended its stream with an error',
    )
  }

  #iq(stanza: Stanza): void | Promise<void> {
    const { router } = this.#server
    if (!stanza.isRequest) {
      if (this.outflow.answered(stanza)) return
      this.#asked.answered(stanza)
    } else this.component.asks(stanza, this)
    // A component has no other way to learn how far we are: who is answered knows that all it sent before is safe.
    if (stanza.isRequest && stanza.payload?.is('ping', NS.PING) === true) {
      return this.#server.settled().then(() => router.route(stanza))
    }
    return router.route(stanza)
  }

  // ---- to the component

  deliver(stanza: Stanza): void {
    if (stanza.kind === 'iq' && stanza.isRequest) this.#asked.add(stanza, true)
    this.send(stanza.toString())
  }

  /** A queued message. */
  give(entry: Entry, data: string | Buffer): void {
    this.send(data)
    if (!this.#gone) this.outflow.sent(entry)
    else this.component.backlog.left([entry])
  }

  send(data: string | Buffer): void {
    const { stream } = this
    stream.send(data)
    this.#server.counters.sent.value++
    if (stream.transport.backlog > MAX_BACKLOG) stream.abandon('the component does not read')
  }

  /** It has closed its stream. */
  closed(hasRead: Promise<boolean>): void {
    this.gone('closed by the component', hasRead)
  }

  /** Nothing comes or goes any more. May be called again. `hasRead`: it closed its stream in order. */
  gone(reason: string, hasRead?: Promise<boolean>): void {
    if (this.#gone) return
    this.#gone = true
    this.component.left(this, reason, this.outflow.end(), hasRead)
    for (const answer of this.#asked.giveUp()) void this.#server.router.route(answer)
  }
}
