/**
 * Writes what is generated from the schemas: the example configuration, the reference pages and the JSON Schema. With
 * `--check` it writes nothing and fails, naming them, if any is stale.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { exampleConfig } from '../src/config/example.ts'
import { configJsonSchema } from '../src/config/jsonschema.ts'
import { configReference, moduleReference } from '../src/config/reference.ts'
import type { ModuleSchema } from '../src/config/schema.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const MODULE_PAGES = 'docs/reference/modules'

/** The definitions of every `mod_*.ts` in src/modules and its folders, by name. */
export async function findModules(folder = path.join(ROOT, 'src/modules')): Promise<ModuleSchema[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile() && /^mod_\w+\.ts$/.test(entry.name))
  const found: ModuleSchema[] = []
  for (const file of files) {
    const exports: Record<string, unknown> = await import(pathToFileURL(path.join(file.parentPath, file.name)).href)
    found.push(...Object.values(exports).filter(isModule))
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Every generated file: path from the root of the project, and text. */
export function generate(modules: readonly ModuleSchema[]): ReadonlyMap<string, string> {
  return new Map([
    ['config/hermod.example.yml', exampleConfig(modules)],
    ['docs/reference/config.md', configReference(modules)],
    ['docs/reference/config.schema.json', `${JSON.stringify(configJsonSchema(modules), undefined, 1)}\n`],
    ...modules.map(module => [`${MODULE_PAGES}/${module.name}.md`, moduleReference(module)] as const),
  ])
}

function isModule(value: unknown): value is ModuleSchema {
  const { name, options } = (value ?? {}) as Partial<ModuleSchema>
  return typeof name === 'string' && name.startsWith('mod_') && typeof options === 'object'
}

async function main(check: boolean): Promise<void> {
  const files = generate(await findModules())
  const pages = await readdir(path.join(ROOT, MODULE_PAGES)).catch(() => [])
  const orphans = pages.map(page => `${MODULE_PAGES}/${page}`).filter(page => !files.has(page))
  const stale: string[] = []
  for (const [file, text] of files) {
    const now = await readFile(path.join(ROOT, file), 'utf8').catch(() => undefined)
    if (now !== text) stale.push(file)
  }
  if (check) {
    for (const file of [...stale, ...orphans]) console.error(`stale: ${file}`)
    if (stale.length + orphans.length > 0) {
      console.error('Run `npm run docs`.')
      process.exitCode = 1
    }
    return
  }
  for (const file of stale) {
    await mkdir(path.dirname(path.join(ROOT, file)), { recursive: true })
    await writeFile(path.join(ROOT, file), files.get(file)!)
    console.log(`wrote ${file}`)
  }
  for (const file of orphans) {
    await rm(path.join(ROOT, file))
    console.log(`removed ${file}`)
  }
}

if (import.meta.main) await main(process.argv.includes('--check'))
