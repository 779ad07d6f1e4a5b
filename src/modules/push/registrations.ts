import type { Account } from '../../core/account.ts'
import { DEVICE } from '../../core/devices.ts'
import type { ModuleContext } from '../../core/module.ts'
import { isPointer, QUEUE } from '../../core/queue/store.ts'
import { type Session, Slot } from '../../core/session.ts'
import { partitionsOf, type Table } from '../../storage/store.ts'
import { parseElement } from '../../xml/index.ts'
import { Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { Flight } from './flight.ts'
import { type Notice, publication, queuedNotice } from './notice.ts'
import type { PushOptions } from './options.ts'
import { type Registration, TABLE, type Wish } from './registration.ts'
import { Target } from './target.ts'
import { Watch } from './watch.ts'

/** Messages that are looked at when an account with devices comes into memory, the newest first, and bytes of them. */
const MAX_REMEMBERED = 200
const MAX_REMEMBERED_BYTES = 1024 * 1024
/** Publications of one host that may wait for an answer: a service that is silent must not crowd out other requests. */
const MAX_PUBLISHING = 2000

/** How long (ms) the session that a device left behind may still be resumed. */
const OLD_SESSION = 300_000

/** On accounts with devices to wake. */
export const WATCH = new Slot<Watch>('mod_push')

/** The devices of a host's accounts that are woken through push services. */
export class Registrations {
  readonly table: Table<Registration>
  readonly #ctx: ModuleContext<PushOptions>
  readonly #queue: Table<Buffer>
  readonly #sent: { value: number }
  readonly #failed: { value: number }
  readonly #flight = new Flight(MAX_PUBLISHING)

  constructor(ctx: ModuleContext<PushOptions>) {
    this.#ctx = ctx
    this.table = ctx.userTable(TABLE)
    this.#queue = ctx.host.store.table(ctx.host.name, QUEUE)
    this.#sent = ctx.counter('push_notifications_total', 'Notifications that push services took')
    this.#failed = ctx.counter('push_failures_total', 'Notifications that push services refused or did not answer')
  }

  watch(account: Account): Watch | undefined {
    return account.slots.get(WATCH)
  }

  has(account: Account, jid: Jid, node: string): boolean {
    return this.watch(account)?.targets.has(keyOf(jid, node)) === true
  }

  /** The session is that of a device. */
  uses(session: Session): boolean {
    const targets = this.watch(session.account)?.targets.values() ?? []
    return [...targets].some(target => target.registration.resource === session.jid.resource)
  }

  async load(account: Account): Promise<Watch | undefined> {
    const rows = await this.table.scan([account.user])
    if (rows.length === 0 || this.watch(account) !== undefined) return undefined
    const watch = this.#begin(account)
    for (const { ck, value } of rows) {
      const [service, node] = ck.map(String)
      const jid = Jid.from(service!)
      watch.targets.set(keyOf(jid, node!), this.#target(watch, jid, node!, value))
    }
    const found: [id: string, notice: Notice][] = []
    let bytes = 0
    const range = { reverse: true, limit: MAX_REMEMBERED, bytes: MAX_REMEMBERED_BYTES }
    for (const { ck, value } of await this.#queue.scan([account.user], range)) {
      const id = String(ck[0])
      const message = isPointer(value) ? await this.#ctx.host.archive.get([account.user], [id]) : value
      if (message === undefined) continue
      const notice = queuedNotice(Stanza.of(parseElement(message)), account.jid.toString())
      if (notice !== undefined) found.push([id, notice])
      bytes += message.length
      if (bytes >= MAX_REMEMBERED_BYTES) break
    }
    for (const [id, notice] of found.reverse()) watch.remember(id, notice)
    return watch
  }

  unload(account: Account): void {
    this.watch(account)?.stop()
    account.slots.delete(WATCH)
  }

  /** XEP-0357 5: the newest request counts for each service and node. */
  async enable(account: Account, session: Session, wish: Wish): Promise<void> {
    const watch = this.watch(account) ?? this.#begin(account)
    const { jid, node = '', form } = wish
    const device = session.slots.get(DEVICE)
    const key = keyOf(jid, node)
    const there = watch.targets.get(key)
    const registration: Registration = {
      ...(form === undefined ? {} : { form }),
      ...(device === undefined ? {} : { device }),
      resource: session.jid.resource,
      at: this.#ctx.now(),
      told: there?.registration.told ?? '',
    }
    if (there !== undefined) {
      // A device that comes back as another session has no use for its old one: that waits no longer than others.
      const { resource } = there.registration
      if (resource !== session.jid.resource) account.sessions.get(resource)?.keepFor(OLD_SESSION)
      there.renew(registration)
    } else {
      if (watch.targets.size >= this.#ctx.options.max_registrations) await this.#forget(account, oldest(watch))
      watch.targets.set(key, this.#target(watch, jid, node, registration))
    }
    await this.table.put([account.user], [jid.toString(), node], registration)
  }

  /** XEP-0357 6: one node of a service, or all of them. */
  async disable(account: Account, jid: Jid, node: string | undefined): Promise<void> {
    const targets = [...(this.watch(account)?.targets.values() ?? [])]
    const gone = targets.filter(target => target.jid.equals(jid) && (node === undefined || target.node === node))
    await Promise.all(gone.map(target => this.#forget(account, target)))
  }

  /** Tells of what has waited since before the start; resolves when all accounts have been looked at. */
  async wakeAll(): Promise<void> {
    for await (const [user] of partitionsOf(this.table)) await this.#wake(String(user))
  }

  /** Forgets devices that were last enabled before this moment (ms since 1970); says how many. */
  async deleteOld(before: number): Promise<number> {
    let count = 0
    for await (const [user] of partitionsOf(this.table)) {
      count += await this.#forgetThose(String(user), ({ at }) => at < before)
    }
    return count
  }

  /** A device was logged out: it is not woken any more. */
  async revoked(user: string, device: string): Promise<void> {
    await this.#forgetThose(user, registration => registration.device === device)
  }

  async #forgetThose(user: string, which: (registration: Registration) => boolean): Promise<number> {
    const rows = await this.table.scan([user])
    const account = rows.some(({ value }) => which(value)) ? await this.#ctx.account(user) : undefined
    const targets = account === undefined ? [] : [...(this.watch(account)?.targets.values() ?? [])]
    const gone = targets.filter(target => which(target.registration))
    for (const target of gone) await this.#forget(account!, target)
    return gone.length
  }

  async #wake(user: string): Promise<void> {
    const [newest] = await this.#queue.keys([user], { reverse: true, limit: 1 })
    if (newest === undefined) return
    const rows = await this.table.scan([user])
    if (rows.every(({ value }) => value.told >= String(newest[0]))) return
    const account = await this.#ctx.account(user)
    if (account !== undefined) this.watch(account)?.lost()
  }

  #begin(account: Account): Watch {
    const { ack_timeout: ackTimeout, notify_absent: notifyAbsent } = this.#ctx.options
    const watch = new Watch(account, { ackTimeout, notifyAbsent })
    account.slots.set(WATCH, watch)
    return watch
  }

  #target(watch: Watch, jid: Jid, node: string, registration: Registration): Target {
    const { retry_after: retryAfter, max_errors: maxErrors } = this.#ctx.options
    const { account } = watch
    const failed = (error: unknown) =>
      this.#ctx.log.warn({ err: error, user: account.user }, 'could not write of a device')
    return new Target(jid, node, registration, {
      settings: { retryAfter, maxErrors },
      publish: (target, notice) => this.#publish(watch, target, notice),
      outstanding: (target, notice) => watch.outstanding(target, notice),
      told: target => {
        this.table.put([account.user], [jid.toString(), node], target.registration).catch(failed)
      },
      refused: (target, reason) => {
        this.#ctx.log.info({ user: account.user, service: jid.toString(), reason }, 'a device is no longer notified')
        this.#forget(account, target).catch(failed)
      },
    })
  }

  #publish(watch: Watch, target: Target, notice: Notice): Promise<Stanza | undefined> | 'busy' {
    const { include_sender: withSender, include_body: withBody, answer_timeout: timeout } = this.#ctx.options
    const requests = this.#ctx.use('roster')?.requests(watch.account) ?? []
    const summary = {
      messages: notice.kind === 'room' ? watch.waiting + 1 : watch.waiting,
      requests: [...requests].length,
      sender: withSender ? notice.sender : undefined,
      body: withBody && notice.body !== '' ? notice.body : undefined,
      important: notice.kind !== 'room',
    }
    return this.#flight.begin(async () => {
      const payload = publication(target.node, summary, target.options)
      const answer = await this.#ctx.request(target.jid, 'set', payload, timeout)
      if (answer?.type === 'result') this.#sent.value++
      else this.#failed.value++
      return answer
    })
  }

  async #forget(account: Account, target: Target): Promise<void> {
    target.stop()
    const watch = this.watch(account)
    const key = keyOf(target.jid, target.node)
    if (watch?.targets.get(key) === target) watch.targets.delete(key)
    if (watch?.targets.size === 0) this.unload(account)
    await this.table.del([account.user], [target.jid.toString(), target.node])
  }
}

function keyOf(jid: Jid, node: string): string {
  return `${jid} ${node}`
}

function oldest(watch: Watch): Target {
  return [...watch.targets.values()].reduce((a, b) => (b.registration.at < a.registration.at ? b : a))
}
