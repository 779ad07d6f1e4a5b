/**
 * Values against a record of options, in three steps: what may be written in several ways is brought to one
 * (`normalise`), zod checks it, and what passed is turned into run-time values and completed with defaults (`complete`).
 */
import type { z } from 'zod'
import { describe, type OptionPath, type Problem } from './diagnostics.ts'
import { nearest } from './nearest.ts'
import { type Opt, type OptionShape, type Options, zodOf } from './schema.ts'
import { Secret } from './secret.ts'

export type RawMap = { [name: string]: unknown }

export interface ValidateContext {
  /** Turns what stands for a secret into its text; throws an Error that says why not. */
  secret(source: RawMap): string
}

interface Validated {
  /** The run-time values; where there are problems, what was written. */
  readonly value: RawMap
  readonly problems: readonly Problem[]
}

interface Frame {
  readonly base?: OptionPath
  readonly partial?: boolean
  /** Names that may be meant by an unknown one at the top, beside those of the shape. */
  readonly alsoKnown?: readonly string[]
}

export function isMap(value: unknown): value is RawMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Secret)
}

/**
 * Checks `raw` against `shape`. With `partial`, what is left out stays out (an overlay), else it gets its default or,
 * if required, is a problem. Paths of problems begin with `base`.
 */
export function validate(
  shape: OptionShape,
  raw: RawMap,
  context: ValidateContext,
  { base = [], partial = false, alsoKnown = [] }: Frame = {},
): Validated {
  const problems: Problem[] = []
  const normal = normaliseFields(shape, raw, base, { ...context, problems })
  const idle = Object.keys(normal).length === 0 && !Object.values(shape).some(option => option.required)
  const result = idle ? undefined : zodOf(shape, [normal]).safeParse(normal, { jitless: true })
  if (!result || result.success)
    return { value: problems.length > 0 ? normal : completeFields(shape, normal, partial), problems }
  const known = new Set(problems.map(problem => JSON.stringify(problem.path)))
  for (const issue of result.error.issues) {
    for (const problem of problemsOf(issue, shape, normal, { base, partial, alsoKnown })) {
      const key = JSON.stringify(problem.path)
      if (!known.has(key)) problems.push(problem)
      known.add(key)
    }
  }
  return { value: normal, problems }
}

/** The run-time values of `input` (as it would be written in a file); throws a RangeError naming the first problem. */
export function parseOptions<S extends OptionShape>(shape: S, input: RawMap = {}): Options<S> {
  const noSecrets = () => {
    throw new Error('only a configuration file may refer to secrets')
  }
  const { value, problems } = validate(shape, input, { secret: noSecrets })
  const [first] = problems
  if (first) throw new RangeError(`${first.path.join('.')}: ${first.message}`)
  return value as Options<S>
}

/** The option at a path below a shape; undefined where there is none. */
export function optionAt(shape: OptionShape, path: OptionPath): Opt<unknown> | undefined {
  let fields: OptionShape | undefined = shape
  let option: Opt<unknown> | undefined
  for (const part of path) {
    const isName = typeof part === 'string'
    if (fields) option = isName && Object.hasOwn(fields, part) ? fields[part] : undefined
    else option = option?.kind === (isName ? 'map' : 'list') ? option.item : undefined
    if (!option) return undefined
    fields = option.fields
  }
  return option
}

interface Walk extends ValidateContext {
  readonly problems: Problem[]
}

function normaliseFields(shape: OptionShape, raw: RawMap, path: OptionPath, walk: Walk): RawMap {
  const out: RawMap = {}
  for (const [name, value] of Object.entries(raw)) {
    const option = Object.hasOwn(shape, name) ? shape[name] : undefined
    out[name] = option ? normalise(option, value, [...path, name], walk) : value
  }
  return out
}

/** The same value in the form that zod is told of. What does not fit is left as it is, for zod to refuse. */
function normalise(option: Opt<unknown>, raw: unknown, path: OptionPath, walk: Walk): unknown {
  switch (option.kind) {
    case 'object': {
      const full = typeof raw === 'string' && option.short ? { [option.short]: raw } : (raw ?? {})
      return isMap(full) ? normaliseFields(option.fields!, full, path, walk) : full
    }
    case 'map': {
      const full = raw ?? {}
      if (!isMap(full)) return full
      const item = (name: string, value: unknown) => normalise(option.item!, value, [...path, name], walk)
      return Object.fromEntries(Object.entries(full).map(([name, value]) => [name, item(name, value)]))
    }
    case 'list': {
      const items: unknown[] = Array.isArray(raw) ? raw : raw === null ? [] : [raw]
      return items.map((value, index) => normalise(option.item!, value, [...path, index], walk))
    }
    case 'secret':
      return normaliseSecret(raw, path, walk)
    default:
      return typeof raw === 'string' ? fromText(option, raw) : raw
  }
}

function normaliseSecret(raw: unknown, path: OptionPath, walk: Walk): unknown {
  if (typeof raw === 'string') return new Secret(raw)
  if (!isMap(raw)) return raw
  try {
    return new Secret(walk.secret(raw))
  } catch (error) {
    walk.problems.push({ path, message: error instanceof Error ? error.message : String(error) })
    return raw
  }
}

/** With `partial`, options that were not written stay out; overlays end at lists and maps, whose items are complete. */
function completeFields(shape: OptionShape, normal: RawMap, partial: boolean): RawMap {
  const out: RawMap = {}
  for (const [name, option] of Object.entries(shape)) {
    const written = normal[name] === undefined && !partial ? option.fallback : normal[name]
    if (written !== undefined) out[name] = complete(option, written, partial)
    else if (!partial) out[name] = undefined
  }
  return out
}

function complete(option: Opt<unknown>, written: unknown, partial: boolean): unknown {
  switch (option.kind) {
    case 'object':
      return completeFields(option.fields!, written as RawMap, partial)
    case 'map': {
      const items = Object.entries(written as RawMap)
      return Object.fromEntries(items.map(([name, value]) => [name, complete(option.item!, value, false)]))
    }
    case 'list':
      return (written as unknown[]).map(value => complete(option.item!, value, false))
    default:
      return option.convert ? option.convert(written) : written
  }
}

const TRUE = new Set(['true', '1'])
const FALSE = new Set(['false', '0'])

/** Values from the environment are texts, whatever they stand for. */
function fromText(option: Opt<unknown>, text: string): unknown {
  if (option.kind === 'bool') return TRUE.has(text) ? true : FALSE.has(text) ? false : text
  if (option.kind === 'int' || option.kind === 'port') return /^-?\d{1,16}$/.test(text) ? Number(text) : text
  return text
}

function problemsOf(
  issue: z.core.$ZodIssue,
  shape: OptionShape,
  normal: RawMap,
  { base, partial, alsoKnown }: Required<Frame>,
): Problem[] {
  const path = issue.path.map(part => (typeof part === 'symbol' ? String(part) : part))
  const option = optionAt(shape, path)
  if (issue.code === 'unrecognized_keys') {
    const names = option?.fields ? Object.keys(option.fields) : [...Object.keys(shape), ...alsoKnown]
    return issue.keys.map(key => ({
      path: [...base, ...path, key],
      atKey: true,
      message: 'is not an option',
      nearest: nearest(key, names),
    }))
  }
  const value = path.reduce<unknown>((at, part) => (at as RawMap | undefined)?.[part], normal)
  const overlay = partial && !path.some(part => typeof part === 'number')
  if (value === undefined) {
    const insideMap = path.some((_, index) => optionAt(shape, path.slice(0, index))?.kind === 'map')
    return overlay && !insideMap ? [] : [{ path: [...base, ...path], message: `is missing: wanted ${option?.words}` }]
  }
  const got = option?.kind === 'secret' ? 'something else' : describe(value)
  const quote = typeof value === 'number' && option?.kind === 'text' ? ' (put it in quotes)' : ''
  return [
    {
      path: [...base, ...path],
      message: `wanted ${option?.words}, got ${got}${quote}`,
      ...(option?.values && typeof value === 'string' ? { nearest: nearest(value, option.values) } : {}),
    },
  ]
}
