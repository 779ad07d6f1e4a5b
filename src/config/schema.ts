/**
 * The vocabulary of options. A module, and the server itself, declares what may be configured as a record of {@link Opt}s
 * made with {@link opt}; validation, defaults, run-time types, reference pages and the editors' JSON Schema all follow from it.
 *
 *     const options = { privacy: opt.oneOf(['everyone', 'contacts', 'nobody'], 'contacts', 'Who may see it.') }
 *     type Mine = Options<typeof options> // { readonly privacy: 'everyone' | 'contacts' | 'nobody' }
 *
 * A default is given as it would be written in the file (`'5m'`, `'256 KiB'`); at run time durations are milliseconds,
 * sizes are bytes and `infinity` is `Infinity`. Where the default is `undefined` the option may be left out and is then
 * `undefined`, unless it was wrapped in `opt.required`. Items of lists and maps need neither default nor doc.
 */
import path from 'node:path'
import type { z } from 'zod'
import { parseDuration } from '../util/duration.ts'
import { parseSize } from '../util/size.ts'
import { zod } from './libraries.ts'
import { Secret } from './secret.ts'

type OptKind =
  | 'bool'
  | 'int'
  | 'duration'
  | 'size'
  | 'text'
  | 'oneOf'
  | 'list'
  | 'map'
  | 'object'
  | 'secret'
  | 'jid'
  | 'domain'
  | 'port'
  | 'path'
  | 'access'
  | 'acl'
  | 'shaper'

export interface Opt<T> {
  readonly kind: OptKind
  /** A sentence or two for the reference page. */
  readonly doc: string
  /** What may be written, completing "wanted ...". */
  readonly words: string
  /** As written in the file; undefined means none. */
  readonly fallback: unknown
  readonly required: boolean
  /** For the generated example and the reference page, where the default says too little. */
  readonly example?: unknown
  /** Of an object. */
  readonly fields?: OptionShape
  /** Of a list or a map. */
  readonly item?: Opt<unknown>
  /** Of an object: the field that a plain text written in its place stands for. */
  readonly short?: string
  /** Of oneOf. */
  readonly values?: readonly string[]
  /** Whether the text `infinity` stands for a number. */
  readonly infinity?: boolean
  /** Makes the check of these written values, once they are normalised (see validate.ts). */
  readonly build: (values: readonly unknown[]) => z.ZodType
  /** From a written value that passed the check to the run-time value; left out, they are the same. */
  readonly convert?: (written: unknown) => unknown
  /** Never there at run time: carries the type. */
  readonly typed?: T
}

export type OptionShape = { readonly [name: string]: Opt<unknown> }
/** The run-time type of one option. */
type OptionValue<O> = O extends Opt<infer T> ? T : never
/** The run-time type of a record of options. */
export type Options<S extends OptionShape> = { readonly [K in keyof S]: OptionValue<S[K]> }

/** What configuration needs to know of a module; `defineModule` definitions fit. */
export interface ModuleSchema {
  readonly name: string
  readonly options: OptionShape
  readonly summary?: string
  readonly xep?: XepReference | readonly XepReference[]
  /** True for a module that runs only where the configuration names it. */
  readonly optional?: boolean
}

export interface XepReference {
  readonly number: number
  /** The version that was implemented. */
  readonly version: string
  readonly name: string
  /** What of it is left out, or done otherwise; a sentence or two. Undefined where a server does all that it says. */
  readonly partial?: string
}

interface Extra {
  example?: unknown
}
interface Bounds extends Extra {
  min?: number
  max?: number
  /** Allow the text `infinity`, which is `Infinity` at run time. */
  infinity?: boolean
}
/** As {@link Bounds}, with limits in the unit of the run-time value (milliseconds or bytes). */
type TextBounds = Bounds

/** Known default: the value is always there. No default: it may be undefined. */
type Defaulted<D, T> = D extends undefined ? T | undefined : T
type Item<O> = NonNullable<OptionValue<O>>

function make<T>(o: Omit<Opt<T>, 'required' | 'typed'>): Opt<T> {
  return { ...o, required: false }
}

function bool<D extends boolean | undefined = undefined>(fallback?: D, doc = '', extra: Extra = {}) {
  return make<Defaulted<D, boolean>>({
    kind: 'bool',
    doc,
    fallback,
    words: 'true or false',
    ...extra,
    build: () => zod().boolean(),
  })
}

function int<D extends number | 'infinity' | undefined = undefined>(fallback?: D, doc = '', bounds: Bounds = {}) {
  const { min = 0, max = Number.MAX_SAFE_INTEGER, infinity = false, example } = bounds
  return make<Defaulted<D, number>>({
    kind: 'int',
    doc,
    fallback,
    example,
    infinity,
    words: orInfinity(`a whole number${within(min, max, String)}`, infinity),
    build: () => {
      const type = zod().int().min(min).max(max)
      return infinity ? zod().union([type, zod().literal(INFINITY)]) : type
    },
    convert: written => (written === INFINITY ? Number.POSITIVE_INFINITY : written),
  })
}

function duration<D extends string | undefined = undefined>(fallback?: D, doc = '', bounds: TextBounds = {}) {
  return measure<D>('duration', 'a duration such as 30s, 5m or 1h 30m', parseDuration, 'ms', fallback, doc, bounds)
}

function size<D extends string | undefined = undefined>(fallback?: D, doc = '', bounds: TextBounds = {}) {
  return measure<D>('size', 'a size such as 4096, 256 KiB or 10 MB', parseSize, 'bytes', fallback, doc, bounds)
}

function measure<D extends string | undefined>(
  kind: 'duration' | 'size',
  what: string,
  parse: (text: string) => number | undefined,
  unit: string,
  fallback: D | undefined,
  doc: string,
  bounds: TextBounds,
) {
  const { min = 0, max = Number.MAX_SAFE_INTEGER, infinity = false, example } = bounds
  const convert = (written: unknown) =>
    written === INFINITY ? Number.POSITIVE_INFINITY : (parse(String(written)) ?? Number.NaN)
  const fits = (written: string) => {
    const value = convert(written)
    return value === Number.POSITIVE_INFINITY ? infinity : value >= min && value <= max
  }
  return make<Defaulted<D, number>>({
    kind,
    doc,
    fallback,
    example,
    infinity,
    words: orInfinity(`${what}${within(min, max, n => `${n} ${unit}`)}`, infinity),
    build: () =>
      zod()
        .union([zod().string().max(64), zod().number()])
        .refine(written => fits(String(written))),
    convert,
  })
}

/** Text of one line or more. `pattern` and `check` say what is allowed, `words` says it to people. */
function text<D extends string | undefined = undefined>(
  fallback?: D,
  doc = '',
  extra: Extra & { pattern?: RegExp; check?: (text: string) => boolean; words?: string; maxLength?: number } = {},
) {
  const { pattern, check, words = 'text', maxLength = 4096, example } = extra
  return make<Defaulted<D, string>>({
    kind: 'text',
    doc,
    fallback,
    example,
    words,
    build: () => {
      let type = zod().string().max(maxLength)
      if (pattern) type = type.regex(pattern)
      return check ? type.refine(check) : type
    },
  })
}

function oneOf<const V extends readonly [string, ...string[]], D extends V[number] | undefined>(
  values: V,
  fallback: D,
  doc = '',
  extra: Extra = {},
) {
  return make<Defaulted<D, V[number]>>({
    kind: 'oneOf',
    doc,
    fallback,
    values,
    words: values.length === 1 ? values[0] : `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`,
    ...extra,
    build: () => zod().enum(values),
  })
}

/** A list; one item written without the dash stands for a list of it. The default is in the items' full written form. */
function list<O extends Opt<unknown>>(
  item: O,
  fallback: readonly unknown[] = [],
  doc = '',
  extra: Extra & { minItems?: number } = {},
) {
  const { minItems = 0, example } = extra
  return make<readonly Item<O>[]>({
    kind: 'list',
    doc,
    fallback,
    item,
    example,
    words: `${minItems > 0 ? 'a list of at least one of' : 'a list of'} ${item.words}`,
    build: values => zod().array(item.build(values.flat())).min(minItems),
  })
}

/** Names, free to choose, each with a value. */
function map<O extends Opt<unknown>>(item: O, doc = '', extra: Extra = {}) {
  return make<{ readonly [name: string]: Item<O> }>({
    kind: 'map',
    doc,
    fallback: {},
    item,
    words: `names, each with ${item.words}`,
    ...extra,
    build: values => zod().record(zod().string(), item.build(values.flatMap(value => Object.values(value ?? {})))),
  })
}

/** Named options below a name. `short` names the field that a plain text stands for. */
function object<S extends OptionShape>(fields: S, doc = '', extra: Extra & { short?: keyof S & string } = {}) {
  return make<Options<S>>({
    kind: 'object',
    doc,
    fallback: {},
    fields,
    words: `options (${Object.keys(fields).join(', ')})`,
    ...extra,
    build: values => zodOf(fields, values),
  })
}

/** A password or key: text, `{env: NAME}` or `{file: PATH}`. Prints as `[secret]` everywhere; `reveal()` gives the text. */
function secret(doc = '', extra: Extra = {}) {
  return make<Secret | undefined>({
    kind: 'secret',
    doc,
    fallback: undefined,
    words: 'text, {env: NAME} or {file: PATH}',
    ...extra,
    build: () => zod().instanceof(Secret),
  })
}

/** The shape only; who uses it parses it as an address (RFC 7622). */
function jid<D extends string | undefined = undefined>(fallback?: D, doc = '', extra: Extra = {}) {
  return pattern<D>('jid', 'an address such as user@example.org', JID, fallback, doc, extra)
}

/** A domain name or IP literal, in lower case at run time. */
function domain<D extends string | undefined = undefined>(fallback?: D, doc = '', extra: Extra = {}) {
  return make<Defaulted<D, string>>({
    ...pattern<D>('domain', 'a domain name such as example.org', DOMAIN, fallback, doc, extra),
    build: () => zod().string().max(253).regex(DOMAIN),
    convert: written => String(written).toLowerCase(),
  })
}

function pattern<D extends string | undefined>(
  kind: OptKind,
  words: string,
  regex: RegExp,
  fallback: D | undefined,
  doc: string,
  extra: Extra,
) {
  const build = () => zod().string().max(3071).regex(regex)
  return make<Defaulted<D, string>>({ kind, doc, fallback, words, ...extra, build })
}

/** Whether a text is a domain name or an IP literal. */
export function isDomain(text: string): boolean {
  return text.length <= 253 && DOMAIN.test(text)
}

/** A TCP port; 0 means any free one. */
function port<D extends number | undefined = undefined>(fallback?: D, doc = '', extra: Extra = {}) {
  return make<Defaulted<D, number>>({
    kind: 'port',
    doc,
    fallback,
    words: 'a port number, 0 to 65535',
    ...extra,
    build: () => zod().int().min(0).max(65535),
  })
}

/** A file or folder: absolute at run time, resolved against the working directory. */
function filePath<D extends string | undefined = undefined>(fallback?: D, doc = '', extra: Extra = {}) {
  return make<Defaulted<D, string>>({
    kind: 'path',
    doc,
    fallback,
    words: 'a path',
    ...extra,
    build: () => zod().string().min(1).max(4096),
    convert: written => path.resolve(String(written)),
  })
}

/** The name of an entry of `access_rules`; loading checks that it exists. */
function access<D extends string | undefined = undefined>(fallback?: D, doc = '', extra: Extra = {}) {
  return pattern<D>('access', 'the name of an access rule', NAME, fallback, doc, extra)
}

/** The name of an entry of `acl`; loading checks that it exists. */
function acl<D extends string | undefined = undefined>(fallback?: D, doc = '', extra: Extra = {}) {
  return pattern<D>('acl', 'the name of an acl', NAME, fallback, doc, extra)
}

/** The name of an entry of `shaper`, or `none`; loading checks that it exists. */
function shaper<D extends string | undefined = undefined>(fallback?: D, doc = '', extra: Extra = {}) {
  return pattern<D>('shaper', 'the name of a shaper', NAME, fallback, doc, extra)
}

/** The same option, which must be given. */
function required<T>(option: Opt<T>): Opt<NonNullable<T>> {
  return { ...option, required: true, fallback: undefined } as Opt<NonNullable<T>>
}

export const opt = {
  bool,
  int,
  duration,
  size,
  text,
  oneOf,
  list,
  map,
  object,
  secret,
  jid,
  domain,
  port,
  path: filePath,
  access,
  acl,
  shaper,
  required,
}

/** The text that stands for it where an option allows it. */
const INFINITY = 'infinity'
const NAME = /^[\p{L}\p{N}_.-]{1,64}$/u
/** Labels of letters, digits, hyphens and underscores in any script, or an IP literal. */
const DOMAIN = /^(?:[\p{L}\p{N}\p{M}_-]{1,63}(?:\.[\p{L}\p{N}\p{M}_-]{1,63})*|\[[0-9a-fA-F:.]+\])$/u
const JID = /^(?:[^\s@/"&':<>]{1,1023}@)?[^\s@/"&'<>]{1,1023}$/u

/**
 * The check of records of options. Only what is used in one of `values` gets a check, or must be there: building checks is
 * most of the time that loading takes, and most options are left at their defaults.
 */
export function zodOf(shape: OptionShape, values: readonly unknown[]): z.ZodType {
  const used = new Set(values.flatMap(value => Object.keys(value ?? {})))
  const fields: Record<string, z.ZodType> = {}
  for (const [name, option] of Object.entries(shape)) {
    if (!used.has(name) && !option.required) continue
    const type = option.build(values.map(value => (value as Record<string, unknown> | null | undefined)?.[name]))
    fields[name] = option.required ? type : type.optional()
  }
  return zod().strictObject(fields)
}

function within(min: number, max: number, say: (n: number) => string): string {
  if (max === Number.MAX_SAFE_INTEGER) return min === 0 ? '' : `, at least ${say(min)}`
  return `, ${say(min)} to ${say(max)}`
}

function orInfinity(words: string, infinity: boolean): string {
  return infinity ? `${words}, or infinity` : words
}
