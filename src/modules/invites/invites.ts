import { Changes } from '../../core/changes.ts'
import type { ModuleContext } from '../../core/module.ts'
import { partitionsOf, type Table } from '../../storage/store.ts'

/** What an invitation is good for; ejabberd's words. */
type InviteType =
  /** A contact of the inviter, with an account from anywhere. */
  | 'roster_only'
  /** An account here. */
  | 'account_only'
  /** An account here, or one from anywhere; either becomes a contact of the inviter. */
  | 'account_subscription'

/** Times are ms since 1970. */
export interface Invite {
  type: InviteType
  /** Localpart; none where the operator invites. */
  inviter?: string
  /** The name that the new account must have. */
  username?: string
  createdAt: number
  expires: number
  /** Times that it can still be used. */
  uses: number
}

export interface NewInvite {
  type: InviteType
  inviter?: string | undefined
  username?: string | undefined
  uses?: number
  /** Ms; default as configured. */
  lifetime?: number | undefined
}

const TOKEN = /^[0-9a-f]{32}$/
/** Kept a while after it has expired: who has shown it in time may still be filling in the form (XEP-0445 4). */
const GRACE = 3_600_000

/** The invitations of one host. */
export class Invites {
  readonly #ctx: ModuleContext
  readonly #lifetime: number
  /** `[token]` */
  readonly #invites: Table<Invite>
  /** `[inviter]` x `[token]` */
  readonly #byInviter: Table<true>
  /** `[username]`: the token that the name is kept for. */
  readonly #names: Table<string>
  /** Uses of each token that are being made now. */
  readonly #claims = new Map<string, number>()
  /** By token. */
  readonly #turns = new Changes()

  constructor(ctx: ModuleContext, lifetime: number) {
    this.#ctx = ctx
    this.#lifetime = lifetime
    this.#invites = ctx.table<Invite>({ name: 'invites' })
    this.#byInviter = ctx.table<true>({ name: 'invites_by' })
    this.#names = ctx.table<string>({ name: 'invite_names' })
  }

  /** The token: 32 hex digits that nobody can guess. The name, if there is one, must be free. */
  async create({ type, inviter, username, uses = 1, lifetime = this.#lifetime }: NewInvite): Promise<string> {
    const now = this.#ctx.now()
    const token = this.#ctx.host.ids.random()
    const invite: Invite = { type, createdAt: now, expires: now + lifetime, uses }
    if (inviter !== undefined) invite.inviter = inviter
    if (username !== undefined) invite.username = username
    const ops = [this.#invites.putOp([token], [], invite)]
    if (inviter !== undefined) ops.push(this.#byInviter.putOp([inviter], [token], true))
    if (username !== undefined) ops.push(this.#names.putOp([username], [], token))
    await this.#ctx.commit(ops)
    return token
  }

  /** What the token is good for now; undefined if for nothing. */
  async find(token: string): Promise<Invite | undefined> {
    if (!TOKEN.test(token)) return undefined
    const invite = await this.#invites.get([token], [])
    return invite !== undefined && this.#isLive(token, invite) && (await this.#vouched(invite)) ? invite : undefined
  }

  /** A name that an account is being made for by invitation is kept for it. */
  async keepsName(user: string): Promise<string | undefined> {
    const token = await this.#names.get([user], [])
    return token !== undefined && (await this.find(token)) !== undefined ? token : undefined
  }

  /** Holds one use back for who is using it now; undefined where none is left. Its time no longer matters. */
  claim(token: string): Promise<Invite | undefined> {
    return this.#turns.run(token, async () => {
      const invite = await this.#invites.get([token], [])
      if (invite === undefined || !(await this.#vouched(invite))) return undefined
      const claimed = this.#claims.get(token) ?? 0
      if (invite.uses <= claimed) return undefined
      this.#claims.set(token, claimed + 1)
      return invite
    })
  }

  /** What was claimed was used. */
  use(token: string): Promise<void> {
    // What was made by it must count; it was claimed before.
    return this.#turns.must(token, async () => {
      try {
        const invite = await this.#invites.get([token], [])
        if (invite === undefined) return
        if (invite.uses > 1) await this.#invites.put([token], [], { ...invite, uses: invite.uses - 1 })
        else await this.#remove(token, invite)
      } finally {
        this.release(token)
      }
    })
  }

  /** What was claimed was not used. */
  release(token: string): void {
    const left = (this.#claims.get(token) ?? 1) - 1
    if (left > 0) this.#claims.set(token, left)
    else this.#claims.delete(token)
  }

  async delete(token: string): Promise<boolean> {
    if (!TOKEN.test(token)) return false
    // It must end with its inviter; else only the inviter and administrators delete it.
    return this.#turns.must(token, async () => {
      const invite = await this.#invites.get([token], [])
      if (invite !== undefined) await this.#remove(token, invite)
      return invite !== undefined
    })
  }

  /** The tokens of an inviter that are good for something. */
  async of(inviter: string): Promise<string[]> {
    const tokens = await this.#tokensOf(inviter)
    const found = await Promise.all(tokens.map(token => this.find(token)))
    return tokens.filter((_, i) => found[i] !== undefined)
  }

  /** An account is gone, and all its invitations with it: also those that are being used, or have expired. */
  async forget(inviter: string): Promise<void> {
    for (const token of await this.#tokensOf(inviter)) await this.delete(token)
  }

  /** For administration: reads all of them. */
  async *all(): AsyncGenerator<{ token: string; invite: Invite }> {
    for await (const [key] of partitionsOf(this.#invites)) {
      const token = String(key)
      const invite = await this.#invites.get([token], [])
      if (invite !== undefined) yield { token, invite }
    }
  }

  /** Deletes what expired a while ago; how many. */
  async sweep(): Promise<number> {
    let number = 0
    const before = this.#ctx.now() - GRACE
    for await (const { token, invite } of this.all()) {
      if (invite.expires < before && (await this.delete(token))) number++
    }
    return number
  }

  #isLive(token: string, invite: Invite): boolean {
    return invite.expires > this.#ctx.now() && invite.uses > (this.#claims.get(token) ?? 0)
  }

  /** Who invited may still do so: the account is there, and not disabled. */
  async #vouched({ inviter }: Invite): Promise<boolean> {
    if (inviter === undefined) return true
    const { users } = this.#ctx.host
    return (await users.exists(inviter)) && !(await users.isDisabled(inviter))
  }

  async #tokensOf(inviter: string): Promise<string[]> {
    return (await this.#byInviter.scan([inviter])).map(({ ck }) => String(ck[0]))
  }

  async #remove(token: string, { inviter, username }: Invite): Promise<void> {
    const ops = [this.#invites.delOp([token])]
    if (inviter !== undefined) ops.push(this.#byInviter.delOp([inviter], [token]))
    if (username !== undefined && (await this.#names.get([username])) === token) ops.push(this.#names.delOp([username]))
    await this.#ctx.commit(ops)
  }
}
