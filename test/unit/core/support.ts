import { Host, type HostOptions } from '../../../src/core/host.ts'
import { createLog, type Logger } from '../../../src/core/log.ts'
import type { Entry, Holder, Origin } from '../../../src/core/queue/entry.ts'
import { MessageQueue } from '../../../src/core/queue/queue.ts'
import { QUEUE, type QueueHandlers, QueueStore } from '../../../src/core/queue/store.ts'
import { Router } from '../../../src/core/router.ts'
import { type ConnectionInfo, type Session, Slots } from '../../../src/core/session.ts'
import type { Users } from '../../../src/core/users.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import type { Store, Table } from '../../../src/storage/store.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import { type Element, parseElement } from '../../../src/xml/index.ts'
import type { StreamError } from '../../../src/xmpp/errors.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import { Stanza } from '../../../src/xmpp/stanza.ts'

export const silent: Logger = createLog({ level: 'silent', format: 'json' })

/** A log whose lines can be read; everything from `warn` up. */
export function listening(): { log: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const destination = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) }
  return { log: createLog({ level: 'warn', format: 'json', destination }), lines }
}

/** A session as the queue sees it. */
export class FakeHolder implements Holder {
  readonly name: string
  /** Entries that it got, in order, and has neither confirmed nor released. */
  readonly held: Entry[] = []
  /** Ids of everything that it ever got, in order; those that waited have `late`. */
  readonly got: { id: string; late: boolean }[] = []
  readonly commits: string[] = []
  limit = Number.POSITIVE_INFINITY
  ended = false
  #waiting: ((room: boolean) => void)[] = []

  constructor(name = 'holder') {
    this.name = name
  }

  get full(): boolean {
    return this.held.length >= this.limit
  }

  get ids(): string[] {
    return this.got.map(g => g.id)
  }

  take(entry: Entry, late: boolean): void {
    this.held.push(entry)
    this.got.push({ id: entry.id, late })
  }

  room(): Promise<boolean> {
    if (this.ended) return Promise.resolve(false)
    if (!this.full) return Promise.resolve(true)
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  committed(entry: Entry): void {
    this.commits.push(entry.id)
  }

  /** Acknowledges the oldest `count`. */
  confirm(queue: MessageQueue, count = this.held.length): void {
    for (const entry of this.held.splice(0, count)) queue.confirm(entry, this)
    if (!this.full) this.#wake(true)
  }

  /** The session ends with what it has not acknowledged. */
  leave(queue: MessageQueue): void {
    this.ended = true
    queue.detach(this)
    this.#wake(false)
    queue.release(this, this.held.splice(0))
  }

  #wake(room: boolean): void {
    for (const resolve of this.#waiting.splice(0)) resolve(room)
  }
}

/** Who waits for messages to be safe. */
export class FakeOrigin implements Origin {
  readonly safeIds: string[] = []
  accepted(): void {}
  safe(entry: Entry): void {
    this.safeIds.push(entry.id)
  }
}

/** A queue on a store, as the host has it; `failed` are entries whose writes failed, handled as the host does. */
export function queueOver(
  store: Store,
  last = '',
  handlers: Partial<QueueHandlers> = {},
): { queue: MessageQueue; queues: QueueStore; bounced: string[] } {
  const bounced: string[] = []
  const queues = new QueueStore(store, store.table('example.org', QUEUE), {
    failed(owner, entry) {
      if (entry.done) return
      if (entry.sent) entry.failed = true
      else owner.bounce(entry)
    },
    ...handlers,
  })
  const queue = new MessageQueue(queues, 'juliet', last)
  queue.onBounce = entry => bounced.push(entry.id)
  return { queue, queues, bounced }
}

/** Accepts a message for sessions, as the delivery of a message does. */
export function send(
  queue: MessageQueue,
  id: string,
  targets: readonly FakeHolder[],
  origin?: Origin,
  archive?: Table<Buffer>,
): Entry {
  const entry = queue.push(id, Buffer.from(`<message id='${id}'/>`), origin)
  if (archive !== undefined) {
    entry.rows = [archive.putOp(queue.key, [id], entry.bytes)]
    entry.archived = true
  }
  for (const target of targets) if (queue.offer(entry, target)) target.take(entry, false)
  queue.keep(entry)
  return entry
}

/** Everybody has an account whose name does not begin with `no`. */
export const everybody: Users = {
  exists: user => !user.startsWith('no'),
  create: () => Promise.resolve(false),
  setPassword: () => Promise.resolve(false),
  verify: () => Promise.resolve(false),
  remove: () => Promise.resolve(true),
  disable: () => Promise.resolve(false),
  enable: () => Promise.resolve(false),
  isDisabled: () => false,
  list: () => Promise.resolve([]),
}

export function host(options: Partial<HostOptions> = {}): Host {
  const log = options.log ?? silent
  const router = options.router ?? new Router(log)
  const made = new Host({
    name: 'example.org',
    store: openMemoryStore(),
    users: everybody,
    ids: new IdGenerator(),
    ...options,
    router,
    log,
  })
  router.addHost(made)
  return made
}

/** A session of an account, that keeps what it is given. */
export class FakeSession extends FakeHolder implements Session {
  readonly jid: Jid
  readonly account: Session['account']
  readonly slots = new Slots()
  presence: Stanza | undefined
  priority = 0
  interested = false
  besides: undefined
  readonly info: ConnectionInfo = { ip: '', port: 0, tls: undefined, mechanism: undefined, since: 0 }
  readonly connected = true
  readonly resumable = false
  readonly stanzas: Stanza[] = []
  closed: StreamError | undefined

  constructor(account: Session['account'], resource: string, priority?: number) {
    super(resource)
    this.account = account
    this.jid = account.jid.withResource(resource)
    account.sessions.set(resource, this)
    if (priority === undefined) return
    this.priority = priority
    this.presence = Stanza.of(parseElement(`<presence from='${this.jid}'/>`))
  }

  deliver(stanza: Stanza, entry?: Entry): void {
    this.stanzas.push(stanza)
    if (entry !== undefined) super.take(entry, false)
  }

  deliverAs(stanza: Stanza, entry: Entry): void {
    this.deliver(stanza, entry)
  }

  override take(entry: Entry, late: boolean): void {
    super.take(entry, late)
    this.stanzas.push(Stanza.of(parseElement(entry.bytes)))
  }

  sendRaw(): void {}

  end(error: StreamError): void {
    this.closed = error
  }

  unacknowledged(): string[] {
    return []
  }

  keepFor(): void {}

  timer(): () => void {
    return () => {}
  }
}

export function stanza(xml: string): Stanza {
  return Stanza.of(parseElement(xml))
}

export function message(to: string, type: string | undefined, body = 'hi', from = 'romeo@example.org/orchard'): Stanza {
  return stanza(
    `<message from='${from}' to='${to}' id='m1'${type === undefined ? '' : ` type='${type}'`}><body>${body}</body></message>`,
  )
}

export function bodyOf(el: Element): string | undefined {
  return el.getChildText('body') ?? undefined
}

export { Jid }
