/** What is wrong in a configuration, and where. */
import { cut } from '../util/text.ts'

/** Names of options from the top; numbers are places in lists. */
export type OptionPath = readonly (string | number)[]

/** What a check found, before it is known where in a file that is. */
export interface Problem {
  readonly path: OptionPath
  /** Whether the name is at fault, rather than its value. */
  readonly atKey?: boolean
  /** A sentence's end: `wanted true or false, got "maybe"`. */
  readonly message: string
  /** The known word nearest to the one found. */
  readonly nearest?: string
}

export interface Diagnostic {
  readonly severity: 'error' | 'warning'
  /** The file, or the `--set` option, that said it. */
  readonly source: string
  /** From 1, where the source is a file. */
  readonly line?: number
  readonly column?: number
  /** `listen[0].port` */
  readonly path: string
  readonly message: string
  readonly nearest?: string
}

/** `hermod.yml:3:5  listen[0].port  wanted a port number, got "x"`, and `; did you mean "y"?` where there is a guess. */
export function formatDiagnostic(d: Diagnostic): string {
  const place = d.line === undefined ? d.source : `${d.source}:${d.line}:${d.column}`
  const guess = d.nearest === undefined ? '' : `; did you mean ${d.nearest}?`
  return [place, d.path, `${d.severity === 'warning' ? 'warning: ' : ''}${d.message}${guess}`]
    .filter(part => part !== '')
    .join('  ')
}

/** Every error of a configuration at once. */
export class ConfigError extends Error {
  readonly diagnostics: readonly Diagnostic[]

  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(formatDiagnostic).join('\n'))
    this.name = 'ConfigError'
    this.diagnostics = diagnostics
  }
}

/** What turned out to be wrong only when an option was put to use. Where in the file it stands, who read the file knows. */
export class OptionError extends Error {
  readonly path: OptionPath

  constructor(path: OptionPath, message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'OptionError'
    this.path = path
  }
}

/** Blames an option for what goes wrong. */
export async function blaming<T>(path: OptionPath, fn: () => Promise<T>): Promise<T> {
  try {
    return await fn()
  } catch (error) {
    if (error instanceof OptionError) throw error
    throw new OptionError(path, error instanceof Error ? error.message : String(error), error)
  }
}

const PLAIN_KEY = /^[^\s.[\]"]+$/

/** `listen[0].port`, `host_config."example.org".auth`. */
export function formatPath(path: OptionPath): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else text += `${text === '' ? '' : '.'}${PLAIN_KEY.test(part) ? part : JSON.stringify(part)}`
  }
  return text
}

/** A value in a message: short, and of lists and mappings only what they are. */
export function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'a mapping'
  const text = JSON.stringify(value)
  return text.length > 60 ? `${cut(text, 57)}...` : text
}
