import type { Host } from '../../../../src/core/host.ts'

/** Hosts of which no more is known than their names. */
export function hostsNamed(...names: string[]): Map<string, Host> {
  return new Map(names.map(name => [name, { name } as Host]))
}
