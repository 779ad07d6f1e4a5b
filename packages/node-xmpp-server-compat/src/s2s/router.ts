import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { clone, type Element, Jid, type Logger, NS, Peering, Stanza as Routed, xml } from 'hermod/engine'
import { type ElementLike, type Stanza, stanzaOf, treeOf } from '../elements.ts'
import { defaultLog } from '../surroundings.ts'

export type StanzaListener = (stanza: Stanza) => unknown

export interface RouterOptions {
  /** Kept for old programs: SASL EXTERNAL is offered to every server whose certificate is valid. */
  secureDomains?: string[]
  /** DNS server to ask, `address:port`; default those of the system. */
  resolver?: string
  /** Connect to private and loopback addresses, where the DNS of another domain names them; default false. */
  privateAddresses?: boolean
  /** Ms that a message waits for a server that cannot be reached; then it comes back. Default two days. */
  queueLifetime?: number
  /** Bytes of one stanza; default 262144. */
  maxStanzaSize?: number
  /** Ms without a stanza after which a stream is closed; default 5 minutes. */
  streamTimeout?: number
  /** Ms of silence after which a space is sent; default 5 minutes. */
  keepAlive?: number
  /** A logger (pino's is one); default: warnings and errors to standard error. */
  log?: Logger
}

export interface RouterEvents {
  /** The port is open. */
  listening: []
  /** What is wrong with the port, a domain or a certificate. */
  error: [error: Error]
}

interface Context {
  listener: StanzaListener | undefined
  secure: boolean
}

/** Talks with other servers (RFC 6120, XEP-0220) in the name of whatever domains are registered. */
export class Router extends EventEmitter<RouterEvents> {
  readonly #contexts = new Map<string, Context>()
  /** Undefined: the port could not be opened. */
  readonly #peering: Promise<Peering | undefined>
  /** What was asked for last: it is done in order. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(port = 5269, bindAddress = '::', options: RouterOptions = {}) {
    super()
    const { queueLifetime, resolver, privateAddresses = false, streamTimeout = 300_000 } = options
    const { maxStanzaSize, keepAlive, log = defaultLog() } = options
    const s2s = {
      private_addresses: privateAddresses,
      idle_timeout: `${streamTimeout}ms`,
      ...(resolver !== undefined && { resolver }),
      ...(queueLifetime !== undefined && { queue_lifetime: `${queueLifetime}ms` }),
    }
    const listen = {
      ...(maxStanzaSize !== undefined && { max_stanza_size: maxStanzaSize }),
      ...(keepAlive !== undefined && { keepalive_interval: `${keepAlive}ms` }),
    }
    this.#peering = Peering.start({ port, ip: bindAddress, log, s2s, listen }).then(
      peering => {
        this.emit('listening')
        return peering
      },
      error => void this.#failed(error),
    )
    for (const domain of options.secureDomains ?? []) this.addSecureDomain(domain)
  }

  /** Does it after all that was asked for before. */
  #after(work: (peering: Peering) => unknown): void {
    const done = this.#last.then(async () => {
      const peering = await this.#peering
      if (peering !== undefined) await work(peering)
    })
    this.#last = done.catch(error => this.#failed(error))
  }

  /** As with other emitters: without a listener it ends the process. */
  #failed(error: Error): void {
    process.nextTick(() => this.emit('error', error))
  }

  /** Speaks for a domain: `listener` is told of each stanza to it. A second one takes the place of the first. */
  register(domain: string, listener: StanzaListener): void {
    this.#contextOf(domain).listener = listener
  }

  /** Speaks for a domain no more; its streams end. */
  unregister(domain: string): void {
    const name = nameOf(domain)
    if (this.#contexts.delete(name)) this.#after(peering => peering.leave(name))
  }

  hasContext(domain: string): boolean {
    return this.#contexts.has(nameOf(domain))
  }

  #contextOf(domain: string): Context {
    const name = nameOf(domain)
    const known = this.#contexts.get(name)
    if (known !== undefined) return known
    const context: Context = { listener: undefined, secure: false }
    this.#contexts.set(name, context)
    this.#after(peering => peering.serve(name, { deliver: ({ el }) => void context.listener?.(stanzaOf(clone(el))) }))
    return context
  }

  /**
   * The certificate of a domain, PEM; `ca`: authorities that certificates of other servers may come from, beside those of the
   * system. Throws where key and certificate cannot be used.
   */
  loadCredentials(domain: string, key: string, cert: string, ca?: string): void {
    createSecureContext({ key, cert, ca })
    this.#contextOf(domain)
    this.#after(async peering => {
      if (ca !== undefined) await peering.trust(ca)
      await peering.certify(nameOf(domain), { key, cert })
    })
  }

  loadCredentialsFromFile(domain: string, keyPath: string, certPath: string, caPath?: string): void {
    const [key, cert] = [readFileSync(keyPath, 'utf8'), readFileSync(certPath, 'utf8')]
    this.loadCredentials(domain, key, cert, caPath === undefined ? undefined : readFileSync(caPath, 'utf8'))
  }

  addSecureDomain(domain: string): void {
    this.#contextOf(domain).secure = true
  }

  /**
   * Sends a stanza: to the listener of a domain that is registered here, else to the server of another. What cannot be delivered
   * comes back, as an error, to the listener of the domain that it is from. Throws where that is missing, or no address.
   */
  send(stanza: ElementLike): void {
    const el = treeOf(stanza, NS.SERVER)
    const { from, to } = el.attrs
    const recipient = to === undefined ? undefined : Jid.parse(to)
    const here = recipient && this.#contexts.get(recipient.domain)
    if (here !== undefined) return void here.listener?.(stanzaOf(el))
    const sender = from === undefined ? undefined : Jid.parse(from)
    if (sender === undefined) throw new Error('a stanza for another server has to be from a domain of ours')
    const own = this.#contextOf(sender.domain)
    if (recipient === undefined) return refuse(own, el)
    const routed = Routed.of(el)
    this.#after(peering => void peering.send(routed))
  }

  /** Ends all streams and closes the port; then `callback` is called, and the promise resolves. */
  async close(callback?: (error?: Error) => void): Promise<void> {
    this.#after(peering => peering.stop())
    await this.#last
    callback?.()
  }
}

/** Nobody can be meant: it comes back, unless it is an error itself. */
function refuse({ listener }: Context, el: Element): void {
  if (el.attrs['type'] === 'error') return
  const error = xml('error', { type: 'modify' }, xml('jid-malformed', { xmlns: NS.STANZAS }))
  const { from, id } = el.attrs
  listener?.(stanzaOf(xml(el.name, { type: 'error', to: from, id }, error)))
}

function nameOf(domain: string): string {
  const jid = Jid.parse(domain)
  if (jid === undefined || jid.local !== '' || jid.resource !== '') throw new RangeError(`not a domain: ${domain}`)
  return jid.domain
}
