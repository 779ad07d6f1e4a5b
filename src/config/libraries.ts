/**
 * What only reading a configuration needs, 13 MB of it: loaded for that, and to be forgotten when it is done. They are taken
 * as CommonJS because what came by `import` cannot be forgotten.
 */
import { createRequire } from 'node:module'
import path from 'node:path'
import type * as Yaml from 'yaml'
import type { z } from 'zod'

/** A new one each time: a `require` remembers whatever came by it. */
const load = (name: string): unknown => createRequire(import.meta.url)(name)

export function zod(): typeof z {
  return (load('zod') as { z: typeof z }).z
}

export function yaml(): typeof Yaml {
  return load('yaml') as typeof Yaml
}

/** The next configuration loads them again. */
export function forgetLibraries(): void {
  const { cache } = createRequire(import.meta.url)
  const ours = ['zod', 'yaml'].map(name => `${path.sep}node_modules${path.sep}${name}${path.sep}`)
  for (const file of Object.keys(cache)) if (ours.some(folder => file.includes(folder))) delete cache[file]
}
