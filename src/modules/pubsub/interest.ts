import type { Account } from '../../core/account.ts'
import { accountOf, isAway, sessionsOf } from '../../core/directory.ts'
import type { ModuleContext } from '../../core/module.ts'
import { type Session, Slot } from '../../core/session.ts'
import type { Access } from '../../pubsub/access.ts'
import type { Node } from '../../pubsub/node.ts'
import type { Owner } from '../../pubsub/place.ts'
import { Weighed } from '../../util/weighed.ts'
import { findChild, NS } from '../../xml/index.ts'
import type { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

type Nodes = ReadonlySet<string>
type Ctx = ModuleContext<Record<never, never>>

/** The nodes that an available client wants to hear of (`+notify`, XEP-0060 9.2). */
const WANTED = new Slot<Wanted>('mod_pubsub', {
  write: ({ caps, nodes }) => [nodes.size > 0 ? caps : '', ...nodes],
  read: ([caps, ...nodes]: [string, ...string[]]) => ({ caps, nodes: new Set(nodes) }),
})
/** Clients of contacts on other servers, by full address, that see the account and want to hear of nodes. */
const REMOTE = new Slot<Weighed<string, Remote>>('pubsub remote interest')

interface Wanted {
  /** The capabilities that the client has announced, by their hash; their nodes once they are known. */
  caps: string
  nodes: Nodes
}

interface Remote extends Wanted {
  jid: Jid
}

const NOTHING: Nodes = new Set()
const NONE: Wanted = { caps: '', nodes: NOTHING }
/** Clients on other servers that one account keeps in mind, and characters of their addresses and of what they want. */
const MAX_REMOTE = 2000
const MAX_REMOTE_TEXT = 256 * 1024
const NOTIFY = '+notify'

/** Which clients want to hear of an account's nodes, by the capabilities that they have announced. */
export class Interest {
  readonly #ctx: Ctx
  readonly #access: Access
  /** Of each set of features (the `caps` service gives the same one for the same hash), the nodes in it. */
  readonly #nodes = new WeakMap<ReadonlySet<string>, Nodes>()
  readonly #ignoreOffline: boolean

  constructor(ctx: Ctx, access: Access, ignoreOffline: boolean) {
    this.#ctx = ctx
    this.#access = access
    this.#ignoreOffline = ignoreOffline
  }

  start(): void {
    const ctx = this.#ctx
    ctx.hook('set_presence', ({ session, stanza, initial }) => this.#announced(session, stanza, initial))
    ctx.hook('unset_presence', ({ session }) => session.slots.delete(WANTED))
    ctx.survives(WANTED)
    // Who was here before this module was.
    for (const session of ctx.host.sessions()) {
      if (session.presence !== undefined) this.#announced(session, session.presence, false)
    }
    // Who sees an account from now on hears of it what is there.
    ctx.hook('subscription_granted', ({ account, contact, again }) => {
      if (again) return
      for (const session of sessionsOf(ctx.host.router, contact)) {
        const { nodes } = session.slots.get(WANTED) ?? NONE
        if (nodes.size > 0) this.#send(account, nodes, session.jid)
      }
    })
    ctx.hook('presence_elsewhere', ({ stanza }) => this.#remote(stanza))
    // They are heard of again when their server is back.
    ctx.hook('peer_gone', ({ local, remote }) => {
      if (local !== ctx.host.name) return
      for (const account of ctx.host.accounts.values()) forget(account, jid => jid.domain === remote)
    })
  }

  /** The clients that hear of this node of an account: its own, and those of contacts that may see it. */
  *listeners(account: Account, owner: Owner, node: Node): Generator<Jid> {
    for (const session of account.sessions.values()) if (wants(session, node.name)) yield session.jid
    const roster = account.host.services.use('roster')
    const remote = account.slots.get(REMOTE)
    for (const contact of roster?.subscribers(account) ?? []) {
      if (!this.#access.isOpenTo(owner, node, contact) || owner.blocks(contact)) continue
      for (const session of sessionsOf(account.host.router, contact)) {
        if (wants(session, node.name) && !owner.blocks(session.jid)) yield session.jid
      }
    }
    if (remote === undefined) return
    for (const { jid, nodes } of remote.values()) {
      if (!nodes.has(node.name) || owner.blocks(jid)) continue
      if (this.#access.isOpenTo(owner, node, jid) && roster?.isSubscribedFrom(account, jid) === true) yield jid
    }
  }

  /** The clients of a contact that are here, or that the account has heard of, with the nodes that they want to hear of. */
  *wanted(account: Account, contact: Jid): Generator<{ to: Jid; nodes: Nodes }> {
    for (const session of sessionsOf(account.host.router, contact)) {
      const { nodes } = session.slots.get(WANTED) ?? NONE
      if (session.presence !== undefined && nodes.size > 0) yield { to: session.jid, nodes }
    }
    for (const { jid, nodes } of account.slots.get(REMOTE)?.values() ?? []) {
      if (jid.bare.equals(contact)) yield { to: jid, nodes }
    }
  }

  #announced(session: Session, presence: Stanza, initial: boolean): void {
    const caps = capsOf(presence)
    if (initial) session.slots.delete(WANTED)
    const before = session.slots.get(WANTED)
    // A client that leaves its capabilities out has not lost them.
    if (caps === undefined || before?.caps === caps) return
    const wanted: Wanted = { caps, nodes: before?.nodes ?? NOTHING }
    session.slots.set(WANTED, wanted)
    this.#learn(presence, nodes => {
      if (session.presence === undefined || session.slots.get(WANTED) !== wanted) return
      const fresh = without(nodes, wanted.nodes)
      wanted.nodes = nodes
      if (fresh.size > 0) void this.#aside(this.#welcome(session, fresh))
    })
  }

  /** A contact's client on another server, whose presence an account gets. */
  #remote(presence: Stanza): void {
    const { from, to, type } = presence
    if (type !== 'available' && type !== 'unavailable') return
    const caps = capsOf(presence)
    // Nothing is noted of who says nothing: the account need not be loaded for it.
    if (type === 'available' && (caps === undefined || from.resource === '')) return
    const note = (there: Account | undefined): void => {
      if (there === undefined) return
      if (from.resource === '') {
        return forget(there, jid => jid.bare.equals(from)) // RFC 6121 4.3.2: none of its clients is available
      }
      const key = from.toString()
      const remote = there.slots.get(REMOTE) ?? new Weighed<string, Remote>(MAX_REMOTE, MAX_REMOTE_TEXT)
      const keep = (change: () => unknown): void => {
        const before = remote.weight
        change()
        there.grew(remote.weight - before)
      }
      if (caps === undefined || type === 'unavailable') return keep(() => remote.delete(key))
      const known = remote.get(key)
      if (known?.caps === caps) return
      if (this.#ctx.use('roster')?.isSubscribedFrom(there, from.bare) !== true) return
      there.slots.set(REMOTE, remote)
      const entry: Remote = { jid: from, caps, nodes: NOTHING }
      keep(() => remote.set(key, entry, key.length + caps.length))
      this.#learn(presence, nodes => {
        if (remote.get(key) !== entry) return // it has gone, or has said something else since
        entry.nodes = nodes
        let text = key.length + caps.length
        for (const node of nodes) text += node.length
        keep(() => remote.set(key, entry, text))
        const fresh = without(nodes, known?.nodes ?? NOTHING)
        if (fresh.size > 0 && !(this.#ignoreOffline && !there.isAvailable)) this.#send(there, fresh, from)
      })
    }
    const there = this.#ctx.account(to!.local)
    if (there instanceof Promise) void this.#aside(there.then(note))
    else note(there)
  }

  /** Runs `then` with the nodes that the sender of a presence wants to hear of, when they are known. */
  #learn(presence: Stanza, then: (nodes: Nodes) => void): void {
    const features = this.#ctx.use('caps')?.features(presence)
    if (features === undefined) return
    if (!(features instanceof Promise)) return then(this.#wanted(features))
    void this.#aside(
      features.then(late => {
        if (late !== undefined) then(this.#wanted(late))
      }),
    )
  }

  #wanted(features: ReadonlySet<string>): Nodes {
    const there = this.#nodes.get(features)
    if (there !== undefined) return there
    const nodes = new Set<string>()
    for (const feature of features) if (feature.endsWith(NOTIFY)) nodes.add(feature.slice(0, -NOTIFY.length))
    this.#nodes.set(features, nodes)
    return nodes
  }

  /** XEP-0163 4.3.4: the last items of the account's own nodes and of its contacts', one contact after the other. */
  async #welcome(session: Session, nodes: Nodes): Promise<void> {
    const { account } = session
    await this.#ctx.use('pep')?.sendLast(account, nodes, session.jid)
    for (const contact of this.#ctx.use('roster')?.subscriptions(account) ?? []) {
      if (session.presence === undefined) return
      await this.#aside(this.#introduce(session, contact, nodes))
    }
  }

  /** A contact's last items, where the contact is one of this server: another server does the same when it hears of us. */
  async #introduce(session: Session, contact: Jid, nodes: Nodes): Promise<void> {
    const { account } = session
    const { router } = this.#ctx.host
    const theirs = router.hosts.get(contact.domain)?.services
    const pep = theirs?.use('pep')
    if (pep === undefined) return
    if (this.#ctx.use('blocking')?.blocks(account, contact) === true) return
    if (this.#ignoreOffline && isAway(router, contact)) return
    const there = await accountOf(router, contact)
    if (there === undefined || theirs?.use('roster')?.isSubscribedFrom(there, account.jid) !== true) return
    // What is at the nodes of all contacts may be more than waits for a client: as fast as it reads.
    if (session.full && !(await session.room())) return
    if (session.presence !== undefined) await pep.sendLast(there, nodes, session.jid)
  }

  #send(account: Account, nodes: Nodes, to: Jid): void {
    const sent = this.#ctx.use('pep')?.sendLast(account, nodes, to)
    if (sent !== undefined) void this.#aside(sent)
  }

  #aside(work: Promise<void>): Promise<void> {
    return this.#ctx.aside(work, 'a client’s interest in nodes could not be met')
  }
}

/** Clients elsewhere that want nothing any more. */
function forget(account: Account, whom: (jid: Jid) => boolean): void {
  const remote = account.slots.get(REMOTE)
  if (remote === undefined) return
  const before = remote.weight
  for (const { jid } of remote.values()) if (whom(jid)) remote.delete(jid.toString())
  account.grew(remote.weight - before)
}

function without(nodes: Nodes, others: Nodes): Nodes {
  return others.size === 0 ? nodes : new Set([...nodes].filter(node => !others.has(node)))
}

function wants(session: Session, node: string): boolean {
  return session.presence !== undefined && session.slots.get(WANTED)?.nodes.has(node) === true
}

function capsOf(presence: Stanza): string | undefined {
  const c = findChild(presence.el, 'c', NS.CAPS)
  return c && `${c.attrs['hash'] ?? ''} ${c.attrs['ver'] ?? ''}`
}
