import { parse, JID as XmppJid } from '@xmpp/jid'

/** The class of @xmpp/jid. Absent parts are empty. */
interface Address {
  local: string
  domain: string
  resource: string
  /** @param plain with the localpart as people write it (XEP-0106) */
  toString(plain?: boolean): string
  equals(other: Address): boolean
  setLocal(local: string, escaped?: boolean): this
  getLocal(plain?: boolean): string
  setDomain(domain: string): this
  getDomain(): string
  setResource(resource: string): this
  getResource(): string
}

const Base = XmppJid as new (local: string | undefined, domain: string, resource?: string | null) => Address

/**
 * An address, as @xmpp/jid has it, made as it was once: `new JID('me@example.org/home')`, or of its parts,
 * `new JID('me', 'example.org', 'home')`. A localpart is escaped where it has to be (XEP-0106). Throws where there is no domain.
 */
export class JID extends Base {
  constructor(local: string | Address | null | undefined, domain?: string | null, resource?: string | null) {
    if (domain) super(local?.toString(), domain, resource)
    else {
      const parsed = parse(String(local ?? ''))
      super(parsed.local, parsed.domain, parsed.resource)
    }
  }

  /** The older name of `local`. */
  get user(): string {
    return this.local
  }

  bare(): JID {
    return this.resource ? new JID(this.local, this.domain) : this
  }
}
