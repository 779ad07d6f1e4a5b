import { createHmac, randomBytes } from 'node:crypto'
import type { Table } from '../storage/store.ts'
import { Lru } from '../util/lru.ts'
import { Turns } from '../util/turns.ts'
import { prepLocal } from '../xmpp/jid.ts'
import { foldsElsewhere } from '../xmpp/precis.ts'
import {
  BusyError,
  createDerive,
  type Derive,
  preparePassword,
  SCRAM_HASHES,
  type ScramHash,
  type ScramKeys,
  sameSecret,
} from './derive.ts'
import { type CredentialRecord, hashesOf, shapeOf, stampOf, storedKeys } from './record.ts'
import { type Shape, Shapes } from './shapes.ts'

/** A name or password that cannot be taken; the message is fit for whoever sent it. */
export class CredentialError extends Error {
  readonly field: 'user' | 'password'
  constructor(field: 'user' | 'password', message: string) {
    super(message)
    this.name = 'CredentialError'
    this.field = field
  }
}

export interface CredentialsOptions {
  table: Table<CredentialRecord>
  /** Stable secret of the host, 16 bytes or more: salts of accounts that do not exist are derived from it. */
  secret: Buffer
  /** PBKDF2 rounds of passwords set from now on. */
  iterations?: number
  /** Hashes to keep of each password, strongest first. */
  hashes?: readonly ScramHash[]
  /** Accounts kept in memory, and as many names without an account. */
  cache?: number
  derive?: Derive
  /** What accounts that do not exist look like; default as those that are made from now on. */
  shapes?: Shapes
  now?: () => number
}

/** `vouched`: right, by the word of another source of accounts (see chain.ts). */
export type PasswordCheck = 'right' | 'vouched' | 'wrong' | 'disabled'

/** `real`: those of an account, in the state that `stamp` names. */
type FoundKeys = ScramKeys & { readonly real: boolean; readonly stamp: string | undefined }

const SALT_BYTES = 16
const MAX_LIST = 1000
/** Of one account that wait, or are being made. */
const MAX_CHANGES = 100

/**
 * The accounts of one host and what is kept of their passwords. Users are prepared localparts throughout. Answers come at
 * once where the account is in memory, else as promises. Reads and changes reject with StoreError when the store does.
 */
export class Credentials {
  readonly #table: Table<CredentialRecord>
  readonly #secret: Buffer
  /** The rounds of passwords that are set from now on. */
  iterations: number
  /** The hashes that are kept of passwords set from now on, strongest first. */
  hashes: readonly ScramHash[]
  readonly #derive: Derive
  readonly #shapes: Shapes
  readonly #now: () => number
  readonly #known: Lru<string, CredentialRecord>
  /** Apart from the known, so that names made up by strangers do not displace accounts. */
  readonly #unknown: Lru<string, true>
  readonly #changes = new Turns(MAX_CHANGES, () => new BusyError('too many changes of an account at once'))
  /** Counts changes: what was read before a change must not be remembered after it. */
  #epoch = 0

  constructor(options: CredentialsOptions) {
    if (options.secret.length < SALT_BYTES) throw new RangeError(`the secret must have ${SALT_BYTES} bytes or more`)
    this.#table = options.table
    this.#secret = options.secret
    this.iterations = options.iterations ?? 10_000
    this.hashes = options.hashes ?? ['SHA-512', 'SHA-256', 'SHA-1']
    if (this.hashes.length === 0) throw new RangeError('at least one hash is needed')
    this.#derive = options.derive ?? createDerive()
    this.#shapes = options.shapes ?? new Shapes(options.secret)
    this.#now = options.now ?? Date.now
    this.#known = new Lru(options.cache ?? 10_000)
    this.#unknown = new Lru(options.cache ?? 10_000)
  }

  get(user: string): CredentialRecord | undefined | Promise<CredentialRecord | undefined> {
    const record = this.#known.get(user)
    if (record !== undefined) return record
    return this.#unknown.get(user) === undefined ? this.#read(user) : undefined
  }

  exists(user: string): boolean | Promise<boolean> {
    return then(this.get(user), record => record !== undefined)
  }

  isDisabled(user: string): boolean | Promise<boolean> {
    return then(this.get(user), record => record?.disabled !== undefined)
  }

  /** False if the name is taken. @throws CredentialError */
  async create(user: string, password: string): Promise<boolean> {
    checkName(user)
    const prepared = checkPassword(password)
    if (await this.exists(user)) return false
    return this.#make(user, { scram: await this.#keys(prepared), createdAt: this.#now() })
  }

  /** False if there is no such account. @throws CredentialError */
  async setPassword(user: string, password: string): Promise<boolean> {
    const prepared = checkPassword(password)
    if (!(await this.exists(user))) return false
    const scram = await this.#keys(prepared)
    return this.#update(user, record => ({ ...record, scram, epoch: (record.epoch ?? 0) + 1 }))
  }

  /** False if there is no such account. */
  remove(user: string): Promise<boolean> {
    return this.#change(
      user,
      async () => {
        if ((await this.#table.get([user], [])) === undefined) return false
        await this.#table.del([user], [])
        return true
      },
      'must',
    )
  }

  /** Whether the password is right and the account not disabled. As slow for accounts that do not exist. @throws BusyError */
  async verify(user: string, password: string): Promise<boolean> {
    return (await this.check(user, password)) === 'right'
  }

  /** As {@link verify}, telling apart the two reasons; `disabled` is said only to who has the password. */
  async check(user: string, password: string): Promise<PasswordCheck> {
    const prepared = preparePassword(password)
    if (prepared === undefined) return 'wrong'
    const record = await this.get(user)
    // Who has no password here costs as much as who has one: nobody tells them apart by the time it takes.
    const real = record !== undefined && hashesOf(record.scram).length > 0
    const shape = real ? shapeOf(record.scram) : this.#decoyShape(user, true)
    const hash = this.hashes.find(name => shape[name] !== undefined) ?? hashesOf(shape)[0]!
    const keys = real ? await this.scram(user, hash) : this.#decoy(user, hash, shape)
    const derived = await this.#derive(hash, prepared, keys.salt, keys.iterations)
    if (!sameSecret(derived.storedKey, keys.storedKey) || !keys.real || record === undefined) return 'wrong'
    // That took its time: the password may be another one by now, or the account be gone.
    const now = await this.get(user)
    if (now?.disabled !== undefined) return 'disabled'
    if (now === undefined || stampOf(now) !== stampOf(record)) return 'wrong'
    this.#complete(user, now, prepared)
    return 'right'
  }

  /** Keys for a SCRAM exchange; for accounts without any, keys that no proof fits, with the same salt each time. */
  scram(user: string, hash: ScramHash): FoundKeys | Promise<FoundKeys> {
    return then(this.get(user), record => {
      const stored = record?.scram[hash]
      if (stored === undefined) return this.#decoy(user, hash, record && shapeOf(record.scram))
      return {
        salt: Buffer.from(stored.salt, 'base64'),
        iterations: stored.iterations,
        storedKey: Buffer.from(stored.storedKey, 'base64'),
        serverKey: Buffer.from(stored.serverKey, 'base64'),
        real: true,
        stamp: stampOf(record!),
      }
    })
  }

  /** The hashes that are kept of the account's password; where there is no such account, those that there might be. */
  kept(user: string): readonly ScramHash[] | Promise<readonly ScramHash[]> {
    return then(this.get(user), record => hashesOf(record?.scram ?? this.#decoyShape(user)))
  }

  disable(user: string, reason?: string): Promise<boolean> {
    const disabled = { at: this.#now(), reason }
    const next = (record: CredentialRecord) => ({ ...record, disabled, epoch: (record.epoch ?? 0) + 1 })
    return this.#change(user, () => this.#replace(user, next), 'must')
  }

  enable(user: string): Promise<boolean> {
    return this.#update(user, ({ disabled: _, ...record }) => record)
  }

  /**
   * Names the account in its present state: another text once the password is set, the account is disabled, or removed and
   * made anew. Undefined if there is no such account.
   */
  stamp(user: string): string | undefined | Promise<string | undefined> {
    return then(this.get(user), record => (record === undefined ? undefined : stampOf(record)))
  }

  /** An account whose password lies elsewhere, known here from now on. False if it was there already. */
  adopt(user: string, source: string): Promise<boolean> {
    return this.#make(user, { scram: {}, createdAt: this.#now(), source })
  }

  #make(user: string, record: CredentialRecord): Promise<boolean> {
    return this.#change(user, async () => {
      if (!(await this.#table.putIfAbsent([user], [], record))) return false
      this.#shapes.note(shapeOf(record.scram))
      return true
    })
  }

  /** Keys of the password that the account has, under a hash it lacks. False if the stamp no longer fits, or they are there. */
  addKeys(user: string, stamp: string, hash: ScramHash, keys: ScramKeys): Promise<boolean> {
    return this.#update(user, record => {
      if (stampOf(record) !== stamp || record.scram[hash] !== undefined) return undefined
      return { ...record, scram: { ...record.scram, [hash]: storedKeys(keys) } }
    })
  }

  /** For {@link addKeys}: a new salt, and the rounds to use with it. */
  freshSalt(): { salt: Buffer; iterations: number } {
    return { salt: randomBytes(SALT_BYTES), iterations: this.iterations }
  }

  /** Names, after the given one; at most 1000 at a time. */
  async list(after?: string, limit = MAX_LIST): Promise<string[]> {
    const keys = await this.#table.partitions(after === undefined ? undefined : [after], Math.min(limit, MAX_LIST))
    return keys.map(key => String(key[0]))
  }

  /** Drops what is in memory of an account that somebody else (another node) has changed in the store. */
  forget(user: string): void {
    this.#epoch++
    this.#known.delete(user)
    this.#unknown.delete(user)
  }

  async #read(user: string): Promise<CredentialRecord | undefined> {
    const epoch = this.#epoch
    const record = await this.#table.get([user], [])
    if (epoch === this.#epoch) {
      if (record === undefined) this.#unknown.set(user, true)
      else this.#known.set(user, record)
    }
    return record
  }

  #update(user: string, next: (record: CredentialRecord) => CredentialRecord | undefined): Promise<boolean> {
    return this.#change(user, () => this.#replace(user, next))
  }

  /** Undefined as the next record: nothing is changed. */
  async #replace(user: string, next: (record: CredentialRecord) => CredentialRecord | undefined): Promise<boolean> {
    const record = await this.#table.get([user], [])
    const changed = record && next(record)
    if (changed === undefined) return false
    await this.#table.put([user], [], changed)
    if (changed.scram !== record?.scram) this.#shapes.note(shapeOf(changed.scram))
    return true
  }

  /**
   * Runs a change after those of the same account before it, and forgets the account when it begins and when it ends. `must` is what
   * keeps somebody out: whoever has got in could leave no place for it.
   */
  #change(user: string, run: () => Promise<boolean>, turn: 'run' | 'must' = 'run'): Promise<boolean> {
    return this.#changes[turn](user, async () => {
      this.forget(user)
      try {
        return await run()
      } finally {
        this.forget(user)
      }
    })
  }

  async #keys(password: string): Promise<CredentialRecord['scram']> {
    const scram: CredentialRecord['scram'] = {}
    for (const hash of this.hashes) {
      scram[hash] = storedKeys(await this.#derive(hash, password, randomBytes(SALT_BYTES), this.iterations))
    }
    return scram
  }

  /** A password that came in the clear gives the keys that the account lacks, for the mechanisms that came later. */
  #complete(user: string, record: CredentialRecord, password: string): void {
    for (const hash of this.hashes) {
      if (record.scram[hash] !== undefined) continue
      const { salt, iterations } = this.freshSalt()
      this.#derive(hash, password, salt, iterations)
        .then(keys => this.addKeys(user, stampOf(record), hash, keys))
        .catch(() => {}) // busy, or the store failed: the next login tries again
    }
  }

  #decoyShape(user: string, usable = false): Shape {
    return this.#shapes.of(user, usable) ?? Object.fromEntries(this.hashes.map(hash => [hash, this.iterations]))
  }

  /** The same for a name each time, so that asking twice does not tell an account from none (RFC 5802 section 9). */
  #decoy(user: string, hash: ScramHash, shape: Shape = this.#decoyShape(user)): FoundKeys {
    const iterations = shape[hash] ?? this.iterations
    const bytes = (purpose: string): Buffer =>
      createHmac('sha512', this.#secret).update(`${purpose}\0${hash}\0${iterations}\0${user}`).digest()
    return {
      salt: bytes('salt').subarray(0, SALT_BYTES),
      iterations,
      storedKey: bytes('stored').subarray(0, SCRAM_HASHES[hash].bytes),
      serverKey: bytes('server').subarray(0, SCRAM_HASHES[hash].bytes),
      real: false,
      stamp: undefined,
    }
  }
}

function then<A, B>(value: A | Promise<A>, next: (value: A) => B): B | Promise<B> {
  return value instanceof Promise ? value.then(next) : next(value)
}

function checkName(user: string): void {
  if (prepLocal(user) !== user) throw new CredentialError('user', 'the name cannot be a localpart as it stands')
  // Only new accounts are refused: such names may well exist elsewhere.
  if (foldsElsewhere(user)) throw new CredentialError('user', 'other servers would take the name for another one')
}

function checkPassword(password: string): string {
  if (password === '') throw new CredentialError('password', 'the password is empty')
  const prepared = preparePassword(password)
  if (prepared === undefined) {
    throw new CredentialError('password', 'the password is longer than 1023 bytes or has control characters')
  }
  return prepared
}
