/** Arguments by name, in the order in which they are typed. */
export type ArgKind = 'text' | 'account' | 'jid' | 'host' | 'int' | 'secret' | 'file' | 'xml'

export interface Arg<T> {
  readonly kind: ArgKind
  readonly doc: string
  readonly optional: boolean
  /** What may be written, where it is a fixed set: completion and checks know it. */
  readonly values?: readonly string[]
  readonly typed?: T
}

export type ArgShape = Readonly<Record<string, Arg<unknown>>>
export type Args<S extends ArgShape> = { readonly [K in keyof S]: S[K] extends Arg<infer T> ? T : never }

function make<T>(kind: ArgKind) {
  function arg(doc: string): Arg<T>
  function arg(doc: string, options: { optional: true; values?: readonly string[] }): Arg<T | undefined>
  function arg(doc: string, options: { values: readonly string[] }): Arg<T>
  function arg(doc: string, options: { optional?: true; values?: readonly string[] } = {}): Arg<T | undefined> {
    return { kind, doc, optional: options.optional === true, values: options.values }
  }
  return arg
}

/** The kinds of argument. At run time all are texts but `int`; `account` is a bare address of a host served here. */
export const arg = {
  text: make<string>('text'),
  account: make<string>('account'),
  jid: make<string>('jid'),
  host: make<string>('host'),
  int: make<number>('int'),
  /** Not shown, not logged; asked for on the terminal where it is left out. */
  secret: make<string>('secret'),
  /** A path on the machine of whoever types it; made absolute there. */
  file: make<string>('file'),
  xml: make<string>('xml'),
}

export type Value = string | number | boolean | null
export type TableRow = Readonly<Record<string, Value>>
/** What a command gives back: nothing, one value, or rows of a table (all with the same columns). */
export type CommandResult = undefined | Value | readonly TableRow[]

export interface CommandIo {
  /** Tells whoever waits how far it is. */
  progress(text: string): void
}

export interface Command<S extends ArgShape = ArgShape> {
  /** snake_case; ejabberd's word where it has one. */
  readonly name: string
  readonly summary: string
  readonly args: S
  /** For the docs and the table's head; undefined for a command that gives a value or nothing. */
  readonly columns?: readonly string[]
  readonly example?: string
  /** What it does that cannot be taken back: hermodctl asks first, and without `yes` it is refused. */
  readonly confirm?: string
  run(args: Args<S>, io: CommandIo): CommandResult | Promise<CommandResult>
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

/** Checks a command's arguments by their types, which are then forgotten: whoever calls it goes by `args`. */
export function defineCommand<S extends ArgShape>(command: Command<S>): Command {
  return command as unknown as Command
}
