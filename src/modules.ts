import { readdir } from 'node:fs/promises'
import { createRequire, registerHooks } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ModuleDefinition } from './core/module.ts'

const FOLDER = path.join(import.meta.dirname, 'modules')
/** `.ts` from the source, `.js` from a build. */
const EXTENSION = path.extname(import.meta.filename)
/** What `hermod` means to a module that imports it. */
const API = new URL(`./index${EXTENSION}`, import.meta.url).href

/** The modules that hermod comes with: every `mod_*` file below src/modules. */
export async function builtinModules(): Promise<ModuleDefinition[]> {
  const files = (await readdir(FOLDER, { recursive: true })).filter(file => {
    const name = path.basename(file)
    return name.startsWith('mod_') && name.endsWith(EXTENSION) && !name.endsWith('.d.ts')
  })
  const found = await Promise.all(files.map(file => definitions(pathToFileURL(path.join(FOLDER, file)).href)))
  return found.flat().sort((a, b) => (a.name < b.name ? -1 : 1))
}

/**
 * A module from elsewhere: a path (`./`, `../`, `/`) from the folder `base`, or the name of a package installed beside it.
 * Whatever it imports from `hermod` is this very server's. Undefined for a name that only a built-in module can have;
 * rejects with what is wrong with it.
 */
export async function loadModule(name: string, base: string): Promise<ModuleDefinition | undefined> {
  const isPath = /^\.{0,2}\//.test(name)
  if (!isPath && /^mod_\w+$/.test(name)) return undefined // misspelt: the loader of the configuration says which is nearest
  const beside = path.join(base, 'hermod.yml')
  const wanted = isPath ? pathToFileURL(resolvePath(path.resolve(base, name), beside)).href : name
  const found = await definitions(wanted, pathToFileURL(beside).href)
  const [definition] = found
  if (definition === undefined) throw new Error('it exports nothing that defineModule made')
  if (found.length > 1) throw new Error(`it exports ${found.length} modules: one is wanted`)
  return definition
}

/** A file, or what a folder's package.json calls its main file. */
function resolvePath(wanted: string, from: string): string {
  try {
    return createRequire(from).resolve(wanted)
  } catch {
    throw new Error(`there is no module at ${wanted}`) // Node's own message is about require
  }
}

/** The module definitions that a file or package exports, each once; a package's name is looked up from `parent`. */
async function definitions(wanted: string, parent?: string): Promise<ModuleDefinition[]> {
  if (parent === undefined) return definitionsOf(await import(wanted))
  const hooks = registerHooks({
    resolve: (specifier, context, next) => {
      if (specifier === 'hermod') return { url: API, shortCircuit: true }
      return next(specifier, specifier === wanted ? { ...context, parentURL: parent } : context)
    },
  })
  try {
    return definitionsOf(await import(wanted))
  } finally {
    hooks.deregister()
  }
}

function definitionsOf(exports: Record<string, unknown>): ModuleDefinition[] {
  return [...new Set(Object.values(exports))].filter(isDefinition)
}

function isDefinition(value: unknown): value is ModuleDefinition {
  if (typeof value !== 'object' || value === null) return false
  const { name, options, start } = value as Partial<ModuleDefinition>
  return typeof name === 'string' && typeof options === 'object' && typeof start === 'function'
}
