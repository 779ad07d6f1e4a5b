/** `--set path.to.option=value`: options from the command line, laid over those of the file. */
import { type Diagnostic, describe, formatPath, type OptionPath } from './diagnostics.ts'
import type { Environment } from './environment.ts'
import type { Opt } from './schema.ts'
import { readSource, type Source } from './source.ts'
import { isMap, type RawMap } from './validate.ts'

export interface AppliedSet {
  /** As messages name it, without the value: that may be a secret. */
  readonly source: string
  readonly path: OptionPath
}

interface SetContext {
  readonly env: Environment
  /** The option at a path; its default is what a set into the middle of it starts from. */
  optionAt(path: OptionPath): Opt<unknown> | undefined
  /** Names that may have dots in them, of what is right below a path. */
  namesBelow(path: OptionPath): readonly string[]
}

/** Lays one `path=value` over `raw`, in place. The value is YAML; list indexes count from 0, the length appends. */
export function applySet(raw: RawMap, text: string, context: SetContext): AppliedSet | Diagnostic {
  const equals = text.indexOf('=')
  const written = equals === -1 ? text : text.slice(0, equals)
  const source = `--set ${written}`
  const fail = (path: OptionPath, message: string): Diagnostic => ({
    severity: 'error',
    source,
    path: formatPath(path),
    message,
  })
  if (equals < 1) return fail([], 'wanted path.to.option=value')
  const parts = splitPath(written, context)
  if (!parts) return fail([], 'wanted names with dots between them; a name with dots goes in double quotes')
  const value = readSource(text.slice(equals + 1), source, context.env)
  const [problem] = value.problems
  if (problem) return fail(parts, problem.message)
  const message = store(raw, parts, value.value ?? null, context)
  return message === undefined ? { source, path: numbered(raw, parts) } : fail(parts, message)
}

/**
 * The set that a problem comes from, if one does: the last that wrote its place, or else one that wrote nearer to it than
 * the file did.
 */
export function setBehind(sets: readonly AppliedSet[], path: OptionPath, source: Source): AppliedSet | undefined {
  const starts = (whole: OptionPath, start: OptionPath) => start.every((part, index) => whole[index] === part)
  const above = sets.findLast(set => starts(path, set.path))
  if (above) return above
  for (let length = path.length; length > 0; length--) {
    const prefix = path.slice(0, length)
    if (source.has(prefix)) return undefined
    const beside = sets.findLast(set => starts(set.path, prefix))
    if (beside) return beside
  }
  return undefined
}

function splitPath(written: string, context: SetContext): string[] | undefined {
  const parts: string[] = []
  let rest = written.trim().replace(/\[(\d+)\]/g, '.$1')
  while (rest !== '') {
    const quoted = /^"([^"]+)"(?=\.|$)/.exec(rest)
    const known = context
      .namesBelow(parts)
      .filter(name => rest === name || rest.startsWith(`${name}.`))
      .sort((a, b) => b.length - a.length)[0]
    const plain = /^[^."]+/.exec(rest)?.[0]
    const part = quoted?.[1] ?? known ?? plain
    if (part === undefined) return undefined
    parts.push(part)
    rest = rest.slice(quoted ? quoted[0].length : part.length)
    if (rest === '') return parts
    if (!rest.startsWith('.') || rest === '.') return undefined
    rest = rest.slice(1)
  }
  return undefined
}

/** What was wrong, or undefined. */
function store(raw: RawMap, parts: readonly string[], value: unknown, context: SetContext): string | undefined {
  let at: RawMap | unknown[] = raw
  for (const [depth, part] of parts.entries()) {
    const key = Array.isArray(at) ? listIndex(at, part) : part
    if (key === undefined) return `has ${(at as unknown[]).length} items: wanted a number up to that, got ${part}`
    if (key === '__proto__') return 'is not an option'
    const below = at as RawMap
    if (depth === parts.length - 1) {
      below[key] = value
      break
    }
    const path = numbered(raw, parts.slice(0, depth + 1))
    const next: unknown = container(below[key], context.optionAt(path))
    if (!isMap(next) && !Array.isArray(next)) return `${formatPath(path)} is ${describe(next)}, with nothing below it`
    below[key] = next
    at = next
  }
  return undefined
}

function listIndex(list: readonly unknown[], part: string): number | undefined {
  const index = /^\d{1,6}$/.test(part) ? Number(part) : Number.NaN
  return index <= list.length ? index : undefined
}

function container(value: unknown, option: Opt<unknown> | undefined): unknown {
  if (option?.kind === 'list' && !Array.isArray(value)) {
    return value === undefined || value === null ? structuredClone(option.fallback ?? []) : [value]
  }
  return value === undefined || value === null || value === false ? {} : value
}

/** The path with numbers where there are lists. */
function numbered(raw: RawMap, parts: readonly string[]): OptionPath {
  let at: unknown = raw
  return parts.map(part => {
    const key = Array.isArray(at) ? Number(part) : part
    at = (at as RawMap | undefined)?.[key]
    return key
  })
}
