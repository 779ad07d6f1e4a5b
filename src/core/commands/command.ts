import type { Jid } from '../../xmpp/jid.ts'
import type { Account } from '../account.ts'
import type { Host } from '../host.ts'

export type ArgKind =
  | 'text'
  | 'int'
  | 'bool'
  | 'time'
  | 'duration'
  | 'list'
  | 'object'
  | 'account'
  | 'jid'
  | 'host'
  | 'secret'
  | 'file'
  | 'xml'

/** An argument; `T` is what the command gets. */
export interface Arg<T> {
  readonly kind: ArgKind
  readonly doc: string
  readonly optional: boolean
  /** What may be written, where it is a fixed set: completion and checks know it. */
  readonly values?: readonly string[]
  /** Of a number. */
  readonly min?: number
  readonly max?: number
  /** Of an object: what it may have. */
  readonly members?: ArgShape
  /** Of an account: it need not exist. */
  readonly free?: true
  readonly typed?: T
}

/** Arguments by name, in the order in which they are typed. */
export type ArgShape = Readonly<Record<string, Arg<unknown>>>
type TypeOf<A> = A extends Arg<infer T> ? T : never
type Args<S extends ArgShape> = { readonly [K in keyof S]: TypeOf<S[K]> }
/** An object of JSON: of what may be left out, `null` says that there is none. */
type Members<S extends ArgShape> = {
  readonly [K in keyof S as undefined extends TypeOf<S[K]> ? never : K]: TypeOf<S[K]>
} & {
  readonly [K in keyof S as undefined extends TypeOf<S[K]> ? K : never]?: Exclude<TypeOf<S[K]>, undefined> | null
}

/** The address of an account, of a host that is served here. */
export type AccountName = Pick<Account, 'jid' | 'user' | 'host'>

type Among<V> = { values?: readonly V[] } & Pick<Arg<V>, 'min' | 'max'>
type Optional<V> = Among<V> & { optional: true }

function declare(kind: ArgKind, doc: string, options: Partial<Optional<unknown>> = {}): Arg<unknown> {
  return { kind, doc, optional: false, ...(options as Partial<Optional<string>>) }
}

function make<T>(kind: ArgKind) {
  function arg<const V extends T = T>(doc: string, options: Optional<V>): Arg<V | undefined>
  function arg<const V extends T = T>(doc: string, options?: Among<V>): Arg<V>
  function arg(doc: string, options?: Partial<Optional<unknown>>): Arg<unknown> {
    return declare(kind, doc, options)
  }
  return arg
}

function list<const V extends string = string>(doc: string, options: Optional<V>): Arg<readonly V[] | undefined>
function list<const V extends string = string>(doc: string, options?: Among<V>): Arg<readonly V[]>
function list(doc: string, options?: Partial<Optional<string>>): Arg<unknown> {
  return declare('list', doc, options)
}

function account(doc: string): Arg<Account>
function account(doc: string, options: { exists: false }): Arg<AccountName>
function account(doc: string, options?: { exists: false }): Arg<AccountName> {
  return { kind: 'account', doc, optional: false, ...(options === undefined ? {} : { free: true }) }
}

/**
 * The kinds of argument. The first account or host among them is what the command is about: it runs where that is, and a
 * command of a module that leaves out the host runs at all hosts of the module.
 */
export const arg = {
  text: make<string>('text'),
  int: make<number>('int'),
  bool: make<boolean>('bool'),
  /** Ms since 1970; written as XEP-0082 has it. */
  time: make<number>('time'),
  /** Ms; written as `12h`. */
  duration: make<number>('duration'),
  /** Texts; typed in one word, with commas between them. */
  list,
  /** JSON. */
  object: <S extends ArgShape>(doc: string, members: S): Arg<Members<S>> => ({
    kind: 'object',
    doc,
    optional: false,
    members,
  }),
  /** Loaded, and not found where there is no such account; with `exists: false` its name, whether it exists or not. */
  account,
  jid: make<Jid>('jid'),
  host: make<Host>('host'),
  /** Not shown, not logged; asked for on the terminal where it is left out. */
  secret: make<string>('secret'),
  /** A path on the machine of whoever types it; made absolute there. */
  file: make<string>('file'),
  xml: make<string>('xml'),
}

/** What a value is to the handler that gives it. */
interface Kinds {
  text: string
  int: number
  /** Not always whole. */
  number: number
  bool: boolean
  /** Ms since 1970; shown as XEP-0082 has it. */
  time: number
  jid: Jid | string
  list: readonly string[]
}
export type Kind = keyof Kinds
/** With `?` it may be null. */
export type ValueKind = Kind | `${Kind}?`
/** Columns of a table, in order. */
export type Columns = Readonly<Record<string, ValueKind>>
export type Returns = ValueKind | Columns

type ValueOf<K> = K extends `${infer N extends Kind}?` ? Kinds[N] | null | undefined : K extends Kind ? Kinds[K] : never
type RowOf<C> = { readonly [K in keyof C]: ValueOf<C[K]> }
export type Result<R extends Returns> = R extends Columns
  ? Iterable<RowOf<R>> | AsyncIterable<RowOf<R>>
  : ValueOf<R> | (R extends `${string}?` ? void : never)

export type Value = string | number | boolean | null | readonly string[]
export type TableRow = Readonly<Record<string, Value>>
/** What a command gives back, as JSON: one value, or rows of a table (all with the same columns). */
export type CommandResult = Value | readonly TableRow[]

export interface CommandIo {
  /** Tells whoever waits how far it is. */
  progress(text: string): void
}

/**
 * The administrators of the host that a command is about; those of every host; or only who is on the machine, as whoever may
 * open the control socket is.
 */
export type Access = 'host' | 'server' | 'machine'

export interface Command<S extends ArgShape = ArgShape, R extends Returns = Returns> {
  /** snake_case; ejabberd's word where it has one. */
  readonly name: string
  readonly summary: string
  readonly args: S
  /** A value, or the rows of a table; without it a sentence, or nothing to say. Of several hosts rows are joined and numbers added. */
  readonly returns?: R
  readonly example?: string
  /** What it does that cannot be taken back: hermodctl asks first, and without `yes` it is refused. */
  readonly confirm?: string
  /** It removes the account that it is about: the removal does not wait for it, as for others. */
  readonly removes?: true
  /** Who may run it, where that does not follow from its arguments ({@link accessOf}). */
  readonly access?: Access
  run(args: Args<S>, io: CommandIo): Result<R> | Promise<Result<R>>
}

/** Says what to do next; the text is for the person who typed the command. */
export class CommandError extends Error {
  readonly code: 'usage' | 'not_found' | 'conflict' | 'failed'
  constructor(code: CommandError['code'], message: string) {
    super(message)
    this.name = 'CommandError'
    this.code = code
  }
}

/** Checks a command by the types of its arguments and results, which are then forgotten: whoever calls it goes by the kinds. */
export function defineCommand<S extends ArgShape, R extends Returns = 'text?'>(command: Command<S, R>): Command {
  return command as unknown as Command
}

/** The argument that says what a command is about; undefined: the server. */
export function subjectOf({ args }: Command): { name: string; arg: Arg<unknown> } | undefined {
  const found = Object.entries(args).find(([, { kind }]) => kind === 'account' || kind === 'host')
  return found && { name: found[0], arg: found[1] }
}

/** A command that must be told which host it is about is for who administers that one, unless it declares otherwise. */
export function accessOf(command: Command): Access {
  if (command.access !== undefined) return command.access
  if (Object.values(command.args).some(({ kind }) => kind === 'file')) return 'machine'
  return subjectOf(command)?.arg.optional === false ? 'host' : 'server'
}

export function isTable(returns: Returns | undefined): returns is Columns {
  return typeof returns === 'object'
}

/** `register ACCOUNT PASSWORD` */
export function synopsis({ name, args }: Pick<Command, 'name' | 'args'>): string {
  const words = Object.entries(args).map(([arg, { optional }]) =>
    optional ? `[${arg.toUpperCase()}]` : arg.toUpperCase(),
  )
  return [name, ...words].join(' ')
}
