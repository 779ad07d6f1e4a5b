import type { Node, Pair } from 'yaml'
import { type Diagnostic, formatPath, type OptionPath, type Problem } from './diagnostics.ts'
import { type Environment, substitute } from './environment.ts'
import { yaml } from './libraries.ts'

const LARGEST_SOURCE = 1_048_576
// biome-ignore lint/suspicious/noTemplateCurlyInString: it is about them
const QUOTE_HINT = ' (between braces and brackets, ${...} has to stand in quotes)'
const MOST_NODES = 100_000
const DEEPEST = 32

/** One YAML text: what it says, what is wrong with it, and where in it each value stands. */
export interface Source {
  readonly value: unknown
  readonly problems: readonly Diagnostic[]
  /** Marks a problem with the place of its path, or of the nearest path above that the text has. */
  locate(problem: Problem, severity?: Diagnostic['severity']): Diagnostic
  /** Whether something is written at a path. */
  has(path: OptionPath): boolean
}

interface Place {
  readonly key: number | undefined
  readonly value: number
}

/** Stands for a value that an empty variable leaves unset. */
const UNSET = Symbol('unset')

/** Reads YAML 1.2 (no tags, no merge keys). Never throws: whatever is wrong is in `problems`. */
export function readSource(text: string, name: string, env: Environment): Source {
  const reader = new Reader(text, name, env)
  return reader.read()
}

class Reader {
  readonly #text: string
  readonly #name: string
  readonly #env: Environment
  readonly #yaml = yaml()
  readonly #lines = new this.#yaml.LineCounter()
  readonly #places = new Map<string, Place>()
  readonly #problems: Diagnostic[] = []
  #document = this.#yaml.parseDocument('')
  #nodes = 0

  constructor(text: string, name: string, env: Environment) {
    this.#text = text
    this.#name = name
    this.#env = env
  }

  read(): Source {
    let value: unknown
    if (this.#text.length > LARGEST_SOURCE) this.#report(0, [], 'is too long: 1 MiB at most')
    else value = this.#parse()
    return {
      value: value === UNSET ? undefined : value,
      problems: this.#problems,
      locate: (problem, severity = 'error') => this.#locate(problem, severity),
      has: path => this.#places.has(JSON.stringify(path)),
    }
  }

  #parse(): unknown {
    this.#document = this.#yaml.parseDocument(this.#text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      uniqueKeys: false,
      version: '1.2',
    })
    // What follows the first of these is mostly its echo.
    const [wrong] = [...this.#document.errors, ...this.#document.warnings].sort((a, b) => a.pos[0] - b.pos[0])
    if (wrong) {
      const [at] = wrong.pos
      const hint = this.#text.slice(at - 1, at + 1) === '${' ? QUOTE_HINT : ''
      this.#report(at, [], wrong.message + hint)
      return undefined
    }
    const root = this.#document.contents
    return root === null ? undefined : this.#convert(root, [], undefined)
  }

  #convert(node: unknown, path: OptionPath, key: number | undefined): unknown {
    const at = offset(node) ?? key ?? 0
    this.#places.set(JSON.stringify(path), { key, value: at })
    if (++this.#nodes > MOST_NODES || path.length > DEEPEST) {
      if (this.#nodes === MOST_NODES + 1 || path.length === DEEPEST + 1)
        this.#report(at, path, 'is more than a configuration may hold')
      return undefined
    }
    if (this.#yaml.isAlias(node)) return this.#convert(node.resolve(this.#document), path, key)
    if (this.#yaml.isMap(node)) return this.#map(node.items, path)
    if (this.#yaml.isSeq(node)) return this.#list(node.items, path)
    if (!this.#yaml.isScalar(node)) return null
    return typeof node.value === 'string' ? this.#substitute(node.value, at, path) : node.value
  }

  #map(items: readonly Pair[], path: OptionPath): unknown {
    const out: Record<string, unknown> = {}
    for (const { key, value } of items) {
      const at = offset(key) ?? 0
      const name =
        this.#yaml.isScalar(key) && key.value !== null ? this.#substitute(String(key.value), at, path) : undefined
      if (typeof name !== 'string' || name === '__proto__') {
        this.#report(at, path, 'wanted a name before the colon')
      } else if (Object.hasOwn(out, name)) {
        this.#report(at, [...path, name], 'is there twice')
      } else {
        const converted = this.#convert(value, [...path, name], at)
        if (converted !== UNSET) out[name] = converted
      }
    }
    const emptied = items.length > 0 && Object.keys(out).length === 0 && typeof path.at(-1) === 'number'
    return emptied ? UNSET : out
  }

  #list(items: readonly unknown[], path: OptionPath): unknown[] {
    // Places keep the number that the item has in the result.
    const out: unknown[] = []
    for (const item of items) {
      const converted = this.#convert(item, [...path, out.length], offset(item))
      if (converted !== UNSET) out.push(converted)
    }
    return out
  }

  #substitute(raw: string, at: number, path: OptionPath): string | typeof UNSET {
    const { text, unset, problems } = substitute(raw, this.#env)
    for (const problem of problems) this.#report(at, path, problem)
    return unset ? UNSET : text
  }

  #report(at: number, path: OptionPath, message: string): void {
    this.#problems.push(this.#diagnostic(at, { path, message }, 'error'))
  }

  #locate(problem: Problem, severity: Diagnostic['severity']): Diagnostic {
    for (let length = problem.path.length; length >= 0; length--) {
      const place = this.#places.get(JSON.stringify(problem.path.slice(0, length)))
      if (!place) continue
      const exact = length === problem.path.length
      const at = exact && !problem.atKey ? place.value : (place.key ?? place.value)
      return this.#diagnostic(at, problem, severity)
    }
    return this.#diagnostic(0, problem, severity)
  }

  #diagnostic(at: number, problem: Problem, severity: Diagnostic['severity']): Diagnostic {
    const { line, col } = this.#lines.linePos(at)
    return {
      severity,
      source: this.#name,
      line: Math.max(1, line),
      column: Math.max(1, col),
      path: formatPath(problem.path),
      message: problem.message,
      ...(problem.nearest === undefined ? {} : { nearest: problem.nearest }),
    }
  }
}

function offset(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0]
}
