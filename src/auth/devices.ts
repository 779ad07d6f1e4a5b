import { randomBytes } from 'node:crypto'
import { DEVICE, type Device, type DeviceList } from '../core/devices.ts'
import { sessionsOf } from '../core/directory.ts'
import type { Host } from '../core/host.ts'
import type { Table, TableSpec } from '../storage/store.ts'
import { Turns } from '../util/turns.ts'
import { StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { BusyError, sameSecret } from './derive.ts'
import { type TokenAttempt, tokenProof } from './token.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** A device was logged out: modules forget what they keep of it. */
    device_revoked: Async<{ user: string; id: string }>
  }
}

/**
 * A token of XEP-0484. HT proves its possession by an HMAC under it, so the server needs the very key: whatever it kept in
 * its place, a hash too, would let in whoever reads it. What protects tokens is that they are random, expire, are replaced,
 * and hold only for their device, their mechanism and the account as it was.
 */
interface Token {
  secret: string
  mechanism: string
  /** The account when it was issued (see Credentials.stamp). */
  stamp: string
  /** Ms since 1970. */
  issuedAt: number
  expires: number
  /** The highest `count` that came with it. */
  count?: number
}

interface DeviceRecord {
  software?: string
  device?: string
  firstSeen: number
  lastSeen: number
  ip: string
  mechanism: string
  /** The token in use, and the one that takes its place when it is used (XEP-0484 5.1). */
  current?: Token
  fresh?: Token
}

/** Characters of a UUID, which is what names a device (XEP-0388 2.3). */
const MAX_ID = 36
/** Logins of devices of one account at a time. */
const MAX_WAITING = 100
/** Partition `[user]`, clustering key `[id]`. */
const DEVICES: TableSpec<DeviceRecord> = { name: 'device', version: 1 }

/** Who a client says it is (XEP-0388 2.3). */
export interface UserAgent {
  /** A UUID in lower case. */
  id: string
  software?: string
  device?: string
}

/** A device that is logging in: until its session is there, this is where a revocation finds it. */
export interface DeviceLogin {
  readonly user: string
  readonly id: string
  revoked: boolean
}

export interface DeviceSettings {
  /** Devices that are remembered of an account. */
  maxDevices: number
  /** Ms that a token holds. */
  tokenLifetime: number
  /** Ms after which a token that is used is replaced. */
  tokenRefreshAge: number
}

export interface IssuedToken {
  secret: string
  /** Ms since 1970. */
  expires: number
}

type TokenVerdict =
  | { failure: 'not-authorized' | 'credentials-expired' }
  /** `proof` is for the client; `due`: the token should be replaced. */
  | { login: DeviceLogin; proof: Buffer; due: boolean }

/** The devices of a host's accounts, and the tokens that let them in. */
export class Devices implements DeviceList {
  settings: DeviceSettings
  readonly #host: Host
  readonly #table: Table<DeviceRecord>
  /** Who uses a token, or logs in with a device, is told to try again where too many do so at once. */
  readonly #turns = new Turns(MAX_WAITING, () => new BusyError('too many devices log in at once'))
  /** One for each stream that is logging in. */
  readonly #logins = new Set<DeviceLogin>()

  constructor(host: Host, settings: DeviceSettings) {
    this.#host = host
    this.settings = settings
    this.#table = host.store.table(host.name, DEVICES)
    host.hooks.add('devices', 'remove_user', ({ user }) => this.#clear(user.local))
  }

  async list(user: string): Promise<Device[]> {
    const rows = await this.#table.scan([user])
    const now = this.#host.now()
    const devices = rows.map(({ ck, value }) => ({
      id: String(ck[0]),
      software: value.software,
      device: value.device,
      firstSeen: value.firstSeen,
      lastSeen: value.lastSeen,
      ip: value.ip,
      mechanism: value.mechanism,
      tokens: [value.current, value.fresh].filter(token => token !== undefined && token.expires > now).length,
    }))
    return devices.sort((a, b) => b.lastSeen - a.lastSeen)
  }

  async revoke(user: string, id: string): Promise<boolean> {
    // What is no name of a device may be too long to be looked for.
    if (id.length > MAX_ID) return false
    // Never refused: whoever has stolen a device could keep it so.
    return this.#turns.must(user, async () => {
      const there = await this.#table.get([user], [id])
      await this.#table.del([user], [id])
      for (const login of this.#logins) if (login.user === user && login.id === id) login.revoked = true
      const sessions = this.#sessions(user, id)
      for (const session of sessions) session.end(new StreamError('not-authorized', 'this device was logged out'))
      await this.#host.hooks.run('device_revoked', { user, id })
      return there !== undefined || sessions.length > 0
    })
  }

  /** The account is gone: what is still logging in to it leaves nothing for whoever takes the name next. */
  #clear(user: string): Promise<void> {
    return this.#turns.must(user, async () => {
      for (const login of this.#logins) if (login.user === user) login.revoked = true
      await this.#table.clear([user])
    })
  }

  /** A device begins to log in; `ended` must be called when it has a session, or none after all. */
  begin(user: string, id: string): DeviceLogin {
    const login = { user, id, revoked: false }
    this.#logins.add(login)
    return login
  }

  ended(login: DeviceLogin): void {
    this.#logins.delete(login)
  }

  /** Devices that are logging in now. */
  get pending(): number {
    return this.#logins.size
  }

  /**
   * Whether the token of a device was used (XEP-0484 5.1). What follows from it is durable when this resolves: its count,
   * that older tokens are void, and that it is void itself where the client asked for that.
   *
   * @param stamp the account as it is now
   */
  async verify(user: string, id: string, stamp: string | undefined, attempt: TokenAttempt): Promise<TokenVerdict> {
    // Only who has a token takes a place among those who wait: strangers would leave none.
    if ((await this.#used(user, id, attempt)) === undefined) return { failure: 'not-authorized' }
    return this.#turns.run(user, async (): Promise<TokenVerdict> => {
      const used = await this.#used(user, id, attempt)
      if (used === undefined) return { failure: 'not-authorized' }
      const { record, token, fresh } = used
      const now = this.#host.now()
      if (token.expires <= now || token.stamp !== stamp) return { failure: 'credentials-expired' }
      const { count } = attempt
      if (count !== undefined && count <= (token.count ?? -1)) return { failure: 'not-authorized' }
      if (fresh || count !== undefined || attempt.invalidate) {
        const counted = count === undefined ? token : { ...token, count }
        const { fresh: waiting, current: _, ...device } = record
        await this.#table.put([user], [id], {
          ...device,
          ...(attempt.invalidate
            ? {}
            : { current: counted, ...(fresh || waiting === undefined ? {} : { fresh: waiting }) }),
        })
      }
      const due = !attempt.invalidate && now - token.issuedAt >= this.settings.tokenRefreshAge
      return { login: this.begin(user, id), proof: tokenProof('Responder', token.secret, attempt.binding), due }
    })
  }

  /** The token that somebody shows to have; undefined where it is none of the device. */
  async #used(user: string, id: string, attempt: TokenAttempt) {
    const record = await this.#table.get([user], [id])
    // Both are computed whatever there is, so that time does not tell.
    const fresh = matches(record?.fresh, attempt)
    const current = matches(record?.current, attempt)
    const token = fresh ? record?.fresh : current ? record?.current : undefined
    return record === undefined || token === undefined ? undefined : { record, token, fresh }
  }

  /**
   * Remembers that a device has logged in, with a new token if `token` names its mechanism: then the token is durable when
   * this resolves. Nothing of a device that was revoked meanwhile.
   */
  seen(
    login: DeviceLogin,
    agent: UserAgent,
    from: { ip: string; mechanism: string },
    token?: { mechanism: string; stamp: string },
  ): Promise<IssuedToken | undefined> {
    const { user, id } = login
    return this.#turns.run(user, async () => {
      if (login.revoked) return undefined
      const before = await this.#table.get([user], [id])
      if (before === undefined) await this.#makeRoom(user)
      const now = this.#host.now()
      const record: DeviceRecord = {
        ...before,
        ...described(agent),
        ...from,
        firstSeen: before?.firstSeen ?? now,
        lastSeen: now,
      }
      if (token !== undefined) {
        record.fresh = {
          ...token,
          // RFC 8959: so that whoever finds one in a log or a repository knows what it is.
          secret: `secret-token:${randomBytes(32).toString('base64url')}`,
          issuedAt: now,
          expires: now + this.settings.tokenLifetime,
        }
      }
      await this.#table.put([user], [id], record)
      return token === undefined ? undefined : record.fresh
    })
  }

  /** One device more than is remembered: the one goes that was not seen for longest and has no session. */
  async #makeRoom(user: string): Promise<void> {
    const rows = await this.#table.scan([user])
    const excess = rows.length + 1 - this.settings.maxDevices
    if (excess <= 0) return
    const idle = rows.filter(({ ck }) => this.#sessions(user, String(ck[0])).length === 0)
    idle.sort((a, b) => a.value.lastSeen - b.value.lastSeen)
    await Promise.all(idle.slice(0, excess).map(({ ck }) => this.#table.del([user], ck)))
  }

  #sessions(user: string, id: string) {
    const sessions = sessionsOf(this.#host.router, Jid.of(user, this.#host.name))
    return [...sessions].filter(session => session.slots.get(DEVICE) === id)
  }
}

const NOBODYS: Token = { secret: 'secret-token:', mechanism: '', stamp: '', issuedAt: 0, expires: 0 }

function matches(token: Token | undefined, { mechanism, proof, binding }: TokenAttempt): boolean {
  const expected = tokenProof('Initiator', (token ?? NOBODYS).secret, binding)
  return sameSecret(expected, proof) && token?.mechanism === mechanism
}

function described({ software, device }: UserAgent): { software?: string; device?: string } {
  return { ...(software === undefined ? {} : { software }), ...(device === undefined ? {} : { device }) }
}
