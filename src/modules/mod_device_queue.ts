import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import type { HookEvent } from '../core/hooks.ts'
import { defineModule, type ModuleContext } from '../core/module.ts'
import { deviceOf, isLasting, nameOf } from '../core/queue/devicename.ts'
import { type Besides, Entry } from '../core/queue/entry.ts'
import { type Session, Slot, takesMessages } from '../core/session.ts'
import type { Op, Row } from '../storage/store.ts'
import { parseElement } from '../xml/index.ts'
import { Stanza } from '../xmpp/stanza.ts'

/** How often (ms) it is written down at most that a device was there. */
const SEEN_AGAIN = 3_600_000
/** Rows read at a time while a device catches up, and their bytes. */
const PAGE = { limit: 64, bytes: 256 * 1024 }

/** What one device has not had yet, though another had it: sizes in bytes by id, oldest first. */
interface Device {
  /** When it was there last, ms since 1970. */
  seen: number
  readonly missed: Map<string, number>
  bytes: number
}

const DEVICES = new Slot<Map<string, Device>>('mod_device_queue')
/** Ids of messages that a session has in flight and others have acknowledged. */
const GIVEN = new Slot<Set<string>>('messages given beside the queue', {
  write: ids => [...ids],
  read: kept => new Set(kept as string[]),
})

const options = {
  max_devices: opt.int(
    4,
    'Devices of a user that messages are kept for; of more, the one goes that was away longest.',
    { min: 1, max: 32 },
  ),
  lifetime: opt.duration('30d', 'How long a device may be away, and messages are kept for it.', { min: 60_000 }),
  max_messages: opt.int(1000, 'Messages kept for one device; of more, the oldest goes.', { min: 1, max: 100_000 }),
  max_bytes: opt.size('8 MiB', 'Bytes of them.', { min: 262_144 }),
}

type Context = ModuleContext<typeof options>

export const mod_device_queue = defineModule({
  name: 'mod_device_queue',
  summary:
    'Keeps messages for every device of a user until that device has them, for servers that keep no archive: a second phone gets what the first one got.',
  optional: true,
  options,
  start(ctx) {
    const queues = new DeviceQueues(ctx)
    ctx.hook('account_load', ({ account }) => queues.load(account))
    ctx.hook('set_presence', ({ session }) => {
      if (!takesMessages(session)) return
      if (isLasting(session)) queues.seen(session)
      session.besides ??= new Missed(queues, session)
    })
    ctx.survives(GIVEN)
    ctx.hook('session_restored', ({ session }) => {
      if (takesMessages(session)) session.besides = new Missed(queues, session)
    })
    ctx.hook('message_acknowledged', event => queues.delivered(event))
    ctx.hook('message_acknowledged_again', ({ entry, session }) => {
      session.slots.get(GIVEN)?.delete(entry.id)
      queues.has(session.account, deviceOf(session), entry.id)
    })
    ctx.hook('device_revoked', async ({ user, id }) => {
      const account = await ctx.account(user)
      if (account !== undefined) queues.forget(account, nameOf(id))
    })
  },
})

class DeviceQueues {
  readonly #ctx: Context
  readonly #devices
  readonly #messages

  constructor(ctx: Context) {
    this.#ctx = ctx
    // [user] [device]: when it was there last.
    this.#devices = ctx.userTable<number>({ name: 'queue_device' })
    // [user] [device, id, bytes]: the message.
    this.#messages = ctx.userTable<Buffer>({ name: 'device_queue', codec: 'bytes', unique: true })
  }

  async load(account: Account): Promise<void> {
    const pk = [account.user]
    const devices = new Map<string, Device>()
    for (const { ck, value } of await this.#devices.scan(pk)) {
      devices.set(String(ck[0]), { seen: value, missed: new Map(), bytes: 0 })
    }
    for (const [name, id, size] of await this.#messages.keys(pk)) {
      const device = devices.get(String(name))
      if (device === undefined) continue
      device.missed.set(String(id), Number(size))
      device.bytes += Number(size)
    }
    account.slots.set(DEVICES, devices)
    for (const [name, { seen }] of devices) if (this.#isOver(seen)) this.forget(account, name)
  }

  #isOver(since: number): boolean {
    return this.#ctx.now() - since > this.#ctx.options.lifetime
  }

  #of(account: Account): Map<string, Device> {
    // In memory since before this module ran: what came until now is not missed by anybody.
    return account.slots.ensure(DEVICES, () => new Map())
  }

  /** A device is there, and from now on is one that messages are kept for. */
  seen(session: Session): void {
    const { account } = session
    const name = deviceOf(session)
    const devices = this.#of(account)
    const now = this.#ctx.now()
    const known = devices.get(name)
    if (known !== undefined && now - known.seen < SEEN_AGAIN) return
    if (known === undefined) devices.set(name, { seen: now, missed: new Map(), bytes: 0 })
    else known.seen = now
    this.#written(this.#devices.put([account.user], [name], now))
    while (devices.size > this.#ctx.options.max_devices) {
      const [oldest] = [...devices].reduce((a, b) => (b[1].seen < a[1].seen ? b : a))
      this.forget(account, oldest)
    }
  }

  /**
   * A device was the first to acknowledge a message, which leaves the queue: in the same commit it is kept for the others,
   * unless it is for one of them alone.
   */
  delivered({ account, entry, session, rows }: HookEvent<'message_acknowledged'>): void {
    const own = deviceOf(session)
    const devices = this.#of(account)
    this.has(account, own, entry.id)
    if (devices.size === 0 || (devices.size === 1 && devices.has(own))) return
    if (Stanza.of(parseElement(entry.bytes)).to?.resource !== '') return
    for (const holder of entry.holders) given(holder as Session).add(entry.id)
    const there = new Set([...account.sessions.values()].map(deviceOf))
    for (const [name, device] of devices) {
      if (name === own) continue
      if (!there.has(name) && this.#isOver(device.seen)) this.forget(account, name)
      else this.#keep(account, name, device, entry, rows)
    }
  }

  #keep(account: Account, name: string, device: Device, { id, bytes }: Entry, rows: Op[]): void {
    const { max_messages: most, max_bytes: mostBytes } = this.#ctx.options
    while (device.missed.size >= most || device.bytes + bytes.length > mostBytes) {
      if (device.missed.size === 0) return
      this.has(account, name, device.missed.keys().next().value!)
    }
    device.missed.set(id, bytes.length)
    device.bytes += bytes.length
    rows.push(this.#messages.putOp([account.user], [name, id, bytes.length], bytes))
  }

  /** A device has a message, or it is kept no longer for it. */
  has(account: Account, name: string, id: string): void {
    const device = account.slots.get(DEVICES)?.get(name)
    const size = device?.missed.get(id)
    if (device === undefined || size === undefined) return
    device.missed.delete(id)
    device.bytes -= size
    this.#written(this.#messages.del([account.user], [name, id, size]))
  }

  /** The messages, up to this id, that others had and this session's device was not given. */
  *missed({ account, slots }: Session, device: string, upTo?: string): Generator<string> {
    const given = slots.get(GIVEN)
    for (const id of account.slots.get(DEVICES)?.get(device)?.missed.keys() ?? []) {
      if ((upTo === undefined || id <= upTo) && given?.has(id) !== true) yield id
    }
  }

  read(account: Account, device: string, first: string, last: string): Promise<Row<Buffer>[]> {
    return this.#messages.scan([account.user], { gte: [device, first], lte: [device, last], ...PAGE })
  }

  forget(account: Account, name: string): void {
    if (account.slots.get(DEVICES)?.delete(name) !== true) return
    const pk = [account.user]
    this.#written(this.#devices.del(pk, [name]))
    this.#written(this.#messages.clear(pk, { gte: [name], lte: [name] }))
  }

  #written(promise: Promise<void>): void {
    void this.#ctx.aside(promise, 'what a device misses could not be written')
  }
}

/** What others had while the device of a session was away, or behind. */
class Missed implements Besides {
  readonly #queues: DeviceQueues
  readonly #session: Session

  constructor(queues: DeviceQueues, session: Session) {
    this.#queues = queues
    this.#session = session
  }

  waits(upTo?: string): boolean {
    return this.#queues.missed(this.#session, deviceOf(this.#session), upTo).next().done !== true
  }

  async give(upTo?: string): Promise<void> {
    const session = this.#session
    const device = deviceOf(session)
    const wanted = [...this.#queues.missed(session, device, upTo)].sort().slice(0, PAGE.limit)
    const [first] = wanted
    if (first === undefined) return
    const rows = await this.#queues.read(session.account, device, first, wanted.at(-1)!)
    if (!takesMessages(session)) return
    // It could not be written.
    if (rows[0]?.ck[1] !== first) this.#queues.has(session.account, device, first)
    const had = given(session)
    const left = new Set(this.#queues.missed(session, device, upTo))
    for (const { ck, value } of rows) {
      const id = String(ck[1])
      if (session.full) return
      if (!left.has(id)) continue
      had.add(id)
      session.take(Entry.delivered(id, value), true)
    }
  }
}

function given({ slots }: Session): Set<string> {
  return slots.ensure(GIVEN, () => new Set())
}
