import { type Element, elementNs, NS } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Account } from './account.ts'
import { DELIVERY, deliverMessage, deliverPresence } from './delivery.ts'
import { isElsewhere } from './directory.ts'
import { type Hooks, STOP } from './hooks.ts'
import type { Host } from './host.ts'
import { answerIq } from './iq.ts'
import type { Destination, Source } from './router.ts'

declare module './hooks.ts' {
  interface HookMap {
    /** Presence of the subscription kind, or a probe, has come in for an account (RFC 6121 3, 4.3). */
    presence_in: Async<{ account: Account; stanza: Stanza }>
    /** The same, for an address of which there is no account, or none for who sent it. */
    presence_nobody: Async<{ stanza: Stanza }>
    /** Presence information from somebody of another server, for an address of the host, whether anybody is there or not. */
    presence_elsewhere: Told<{ stanza: Stanza }>
    /** Presence has come back to an account with clients as an error. STOP: nobody is shown it. */
    presence_error: Sync<{ account: Account; stanza: Stanza }>
    /** A message or presence for the host itself. */
    host_packet: Async<{ stanza: Stanza; source: Source }>
  }
}

/** What comes to a virtual host: for itself, or for one of its accounts. */
export class LocalDelivery implements Destination {
  readonly name: string
  readonly filter: Hooks
  readonly #host: Host

  constructor(host: Host) {
    this.name = host.name
    this.filter = host.hooks
    this.#host = host
  }

  deliver(stanza: Stanza, source: Source): void | Promise<void> {
    const { local } = stanza.to!
    if (local === '') return this.#toHost(stanza, source)
    if (source.hidden === true) return this.#toNobody(stanza, source)
    if (stanza.isPresenceInformation) return this.#presence(stanza, source)
    const account = this.#host.account(local)
    if (account instanceof Promise) return account.then(loaded => this.#toAccount(loaded, stanza, source))
    return this.#toAccount(account, stanza, source)
  }

  #presence(stanza: Stanza, { except }: Source): void {
    const { accounts, hooks, router } = this.#host
    if (stanza.from.domain !== this.name && isElsewhere(router, stanza.from))
      hooks.notify('presence_elsewhere', { stanza })
    // It is for clients: an account that is not in memory has none.
    const account = accounts.get(stanza.to!.local)
    if (account === undefined) return
    if (stanza.type === 'error' && hooks.runSync('presence_error', { account, stanza }) === STOP) return
    deliverPresence(account, stanza, except)
  }

  #toHost(stanza: Stanza, source: Source): void | Promise<void> {
    const host = this.#host
    const { kind, type } = stanza
    if (kind !== 'iq') {
      const done = host.hooks.run('host_packet', { stanza, source })
      if (done instanceof Promise) return done.then(() => {})
      if (done === undefined && kind === 'message' && type !== 'error' && type !== 'headline') {
        throw new StanzaError('service-unavailable')
      }
      return
    }
    if (!stanza.isRequest) return void host.requests.answer(stanza)
    if (stanza.to!.resource !== '') throw new StanzaError('service-unavailable')
    return answerIq(host, host.iq, 'server', stanza, source, source.session?.account)
  }

  #toAccount(account: Account | undefined, stanza: Stanza, source: Source): void | Promise<void> {
    if (account === undefined) return this.#toNobody(stanza, source)
    if (stanza.kind === 'message') return deliverMessage(account, stanza, source)
    const host = this.#host
    if (stanza.kind === 'presence') {
      const done = host.hooks.run('presence_in', { account, stanza })
      return done instanceof Promise
        ? host.during(
            account.user,
            done.then(() => {}),
          )
        : undefined
    }
    if (stanza.to!.resource === '') {
      if (stanza.isRequest) return answerIq(host, host.iq, 'account', stanza, source, account)
      return void host.requests.answer(stanza)
    }
    // Nobody but the account itself and its server may push a roster or a block list to a client (RFC 6121 2.1.6).
    if (stanza.type === 'set' && isPush(stanza.payload!) && !stanza.from.bare.equals(account.jid)) {
      throw new StanzaError('service-unavailable')
    }
    const session = account.sessions.get(stanza.to!.resource)
    if (session !== undefined) session.deliver(stanza)
    else if (stanza.isRequest) throw new StanzaError('service-unavailable')
  }

  /** RFC 6121 8.5.1: no such account. The answers are those that a stranger gets from an account that exists. */
  #toNobody(stanza: Stanza, source: Source): void | Promise<void> {
    if (stanza.kind === 'message') {
      if (DELIVERY.bare.no_account![stanza.type] === 'bounce') throw new StanzaError('service-unavailable')
      return
    }
    if (stanza.kind === 'presence') {
      const done = this.#host.hooks.run('presence_nobody', { stanza })
      return done instanceof Promise ? done.then(() => {}) : undefined
    }
    if (!stanza.isRequest) return
    if (stanza.to!.resource !== '') throw new StanzaError('service-unavailable')
    return answerIq(this.#host, this.#host.iq, 'account', stanza, source, undefined)
  }
}

function isPush(payload: Element): boolean {
  const ns = elementNs(payload)
  return ns === NS.ROSTER || ns === NS.BLOCKING
}
