/** Names of acls, access rules and shapers, where they are used. */
import { BUILTIN_ACLS, BUILTIN_RULE_NAMES } from './access.ts'
import { BUILTIN_SHAPERS } from './core.ts'
import { describe, type OptionPath, type Problem } from './diagnostics.ts'
import { nearest } from './nearest.ts'
import type { Opt, OptionShape } from './schema.ts'
import { isMap, type RawMap } from './validate.ts'

/** The names there are. */
export interface Scope {
  readonly acl: ReadonlySet<string>
  readonly access: ReadonlySet<string>
  readonly shaper: ReadonlySet<string>
}

/** The built-in names and those declared in `layers`. */
export function scopeOf(...layers: readonly RawMap[]): Scope {
  const declared = (name: string) => layers.flatMap(layer => (isMap(layer[name]) ? Object.keys(layer[name]) : []))
  return {
    acl: new Set([...BUILTIN_ACLS, ...declared('acl')]),
    access: new Set([...BUILTIN_RULE_NAMES, ...declared('access_rules')]),
    shaper: new Set([...Object.keys(BUILTIN_SHAPERS), ...declared('shaper')]),
  }
}

/** A problem for each name in validated options that means nothing. */
export function danglingReferences(shape: OptionShape, value: RawMap, base: OptionPath, scope: Scope): Problem[] {
  return Object.entries(shape).flatMap(([name, option]) => dangling(option, value[name], [...base, name], scope))
}

function dangling(option: Opt<unknown>, value: unknown, path: OptionPath, scope: Scope): Problem[] {
  switch (option.kind) {
    case 'acl':
    case 'access':
    case 'shaper': {
      const names = scope[option.kind]
      if (typeof value !== 'string' || names.has(value)) return []
      return [{ path, message: `wanted ${option.words}, got ${describe(value)}`, nearest: nearest(value, names) }]
    }
    case 'object':
      return isMap(value) ? danglingReferences(option.fields!, value, path, scope) : []
    case 'map':
      if (!isMap(value)) return []
      return Object.entries(value).flatMap(([name, item]) => dangling(option.item!, item, [...path, name], scope))
    case 'list':
      if (!Array.isArray(value)) return []
      return value.flatMap((item, index) => dangling(option.item!, item, [...path, index], scope))
    default:
      return []
  }
}
