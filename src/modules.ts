import { readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ModuleDefinition } from './core/module.ts'

const FOLDER = path.join(import.meta.dirname, 'modules')
/** `.ts` from the source, `.js` from a build. */
const EXTENSION = path.extname(import.meta.filename)

/** The modules that hermod comes with: every `mod_*` file below src/modules. */
export async function builtinModules(): Promise<ModuleDefinition[]> {
  const files = (await readdir(FOLDER, { recursive: true })).filter(file => {
    const name = path.basename(file)
    return name.startsWith('mod_') && name.endsWith(EXTENSION) && !name.endsWith('.d.ts')
  })
  const found = await Promise.all(files.map(file => importModule(path.join(FOLDER, file))))
  return found.flat().sort((a, b) => (a.name < b.name ? -1 : 1))
}

/**
 * A module from elsewhere: a path (`./`, `../`, `/`), or the name of a package installed beside the configuration.
 * Rejects with what is wrong with it.
 */
export async function loadModule(name: string, base: string): Promise<ModuleDefinition | undefined> {
  const isPath = /^(?:\.{0,2}\/|[A-Za-z]:\\)/.test(name)
  if (!isPath && /^mod_\w+$/.test(name)) return undefined // a built-in one, misspelt: the loader says which is nearest
  const file = isPath ? path.resolve(base, name) : createRequire(path.join(base, 'package.json')).resolve(name)
  const [definition] = await importModule(file)
  if (definition === undefined) throw new Error(`${file} exports nothing that defineModule made`)
  return definition
}

async function importModule(file: string): Promise<ModuleDefinition[]> {
  const exports = (await import(pathToFileURL(file).href)) as Record<string, unknown>
  return Object.values(exports).filter(isDefinition)
}

function isDefinition(value: unknown): value is ModuleDefinition {
  if (typeof value !== 'object' || value === null) return false
  const { name, options, start } = value as Partial<ModuleDefinition>
  return typeof name === 'string' && typeof options === 'object' && typeof start === 'function'
}
