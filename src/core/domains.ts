import { type Element, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { DiscoRegistry } from './disco.ts'
import type { Hooks } from './hooks.ts'
import type { Host } from './host.ts'
import { type Answering, answerIq, type IqRequest, IqTable, type IqTarget } from './iq.ts'
import type { Destination, Source } from './router.ts'

/** What goes into a `<query/>` of service discovery; undefined where there is nothing of that name. */
type DiscoAnswer = readonly Element[] | undefined | Promise<readonly Element[] | undefined>

/** What a module does with what comes to its domain. */
export interface DomainHandler {
  /** What the domain is called among the host's items (XEP-0030 4). */
  readonly name?: string
  /**
   * Messages, presence, and whatever is for an address with a resource. Throws StanzaError, at once or later, to tell the
   * sender that it was not taken. A domain without it takes none of that.
   */
  packet?(stanza: Stanza, source: Source): void | Promise<void>
  /**
   * disco#info of a node, or of an address with a localpart; what is said of the domain itself comes from its features and
   * identities. No such thing is `item-not-found`.
   */
  info?(request: IqRequest, node: string): DiscoAnswer
  /** disco#items of the domain itself (`node` is empty), a node, or an address with a localpart. */
  items?(request: IqRequest, node: string): DiscoAnswer
}

/**
 * A domain below a host that a module serves (`pubsub.example.org`). It has iq handlers and features of its own: scope
 * `server` is the domain itself, `account` any bare address in it. The host's `filter_packet` sees what comes to it.
 */
export class Domain implements Destination {
  readonly name: string
  readonly filter: Hooks
  readonly jid: Jid
  readonly host: Host
  readonly disco = new DiscoRegistry()
  readonly iqs = new IqTable()
  readonly #owner: string
  readonly #handler: DomainHandler

  /** Throws an Error where `name` is no domain, or the host's own. */
  constructor(owner: string, name: string, host: Host, handler: DomainHandler) {
    const jid = Jid.parse(name)
    if (jid === undefined || jid.local !== '' || jid.resource !== '') throw new Error(`${owner}: ${name} is no domain`)
    if (jid.domain === host.name) throw new Error(`${owner}: ${host.name} is a virtual host`)
    this.name = jid.domain
    this.jid = jid
    this.host = host
    this.filter = host.hooks
    this.#owner = owner
    this.#handler = handler
    this.disco.addFeature('server', NS.DISCO_INFO)
    this.disco.addFeature('server', NS.DISCO_ITEMS)
    for (const scope of ['server', 'account'] as const) {
      this.iq(scope, 'get', NS.DISCO_INFO, 'query', request => this.#info(scope, request))
      this.iq(scope, 'get', NS.DISCO_ITEMS, 'query', request => this.#items(scope, request))
    }
  }

  /** Answers iqs with this payload, as {@link ModuleContext.iq} does; there are no accounts here. */
  iq(target: IqTarget, type: 'get' | 'set', ns: string, name: string, handler: Answering<IqRequest>): void {
    this.iqs.add<IqTarget>(this.#owner, target, type, ns, name, handler)
  }

  deliver(stanza: Stanza, source: Source): void | Promise<void> {
    if (stanza.kind !== 'iq') return this.#packet(stanza, source)
    // What the module asked in the name of the domain comes back here.
    if (!stanza.isRequest && this.host.requests.answer(stanza)) return
    const { local, resource } = stanza.to!
    if (resource !== '') return this.#packet(stanza, source)
    if (!stanza.isRequest) return
    return answerIq(this.host, this.iqs, local === '' ? 'server' : 'account', stanza, source, undefined)
  }

  #packet(stanza: Stanza, source: Source): void | Promise<void> {
    if (this.#handler.packet !== undefined) return this.#handler.packet(stanza, source)
    // RFC 6121 8.5: what nobody misses is dropped; for the rest there is nobody.
    if (stanza.kind === 'presence' || stanza.type === 'error' || stanza.type === 'result') return
    if (stanza.kind === 'message' && stanza.type === 'headline') return
    throw new StanzaError('service-unavailable')
  }

  #info(scope: IqTarget, request: IqRequest): Element | Promise<Element> {
    const node = request.payload.attrs['node'] ?? ''
    if (scope === 'account' || node !== '') {
      return answer(NS.DISCO_INFO, node, this.#handler.info?.(request, node))
    }
    const identities = this.disco.identities('server').map(({ category, type, name }) => {
      return xml('identity', { category, type, name })
    })
    const features = this.disco.features('server').map(feature => xml('feature', { var: feature }))
    return xml('query', { xmlns: NS.DISCO_INFO }, identities, features, this.disco.forms())
  }

  #items(scope: IqTarget, request: IqRequest): Element | Promise<Element> {
    const node = request.payload.attrs['node'] ?? ''
    if (this.#handler.items !== undefined) return answer(NS.DISCO_ITEMS, node, this.#handler.items(request, node))
    return answer(NS.DISCO_ITEMS, node, scope === 'server' && node === '' ? [] : undefined)
  }
}

function answer(xmlns: string, node: string, children: DiscoAnswer): Element | Promise<Element> {
  if (children instanceof Promise) return children.then(list => answer(xmlns, node, list))
  if (children === undefined) throw new StanzaError('item-not-found')
  return xml('query', { xmlns, node: node === '' ? undefined : node }, children)
}
