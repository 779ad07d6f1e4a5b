/**
 * Writes what is generated: from the schemas, the example configuration, its reference pages and JSON Schema; from the sources and
 * a server that runs for a moment, the pages of hooks, services, commands, metrics and XEPs, and the DOAP file. With `--check` it writes nothing and fails, naming them, if any is stale.
 */
import { globSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import packageJson from '../package.json' with { type: 'json' }
import { exampleConfig } from '../src/config/example.ts'
import { configJsonSchema } from '../src/config/jsonschema.ts'
import { configReference, moduleReference } from '../src/config/reference.ts'
import type { ModuleSchema } from '../src/config/schema.ts'
import type { ModuleDefinition } from '../src/core/module.ts'
import { builtinModules } from '../src/modules.ts'
import { VERSION } from '../src/version.ts'
import { leading, sources } from './reference/declared.ts'
import { doap } from './reference/doap.ts'
import { referencePages } from './reference/pages.ts'
import { type Running, running } from './reference/running.ts'
import { spoken } from './reference/xeps.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const MODULE_PAGES = 'docs/reference/modules'

/** What is generated from the schemas: path from the root of the project, and text. */
export function generate(modules: readonly ModuleSchema[]): ReadonlyMap<string, string> {
  return new Map([
    ['config/hermod.example.yml', exampleConfig(modules)],
    ['docs/reference/config.md', configReference(modules)],
    ['docs/reference/config.schema.json', `${JSON.stringify(configJsonSchema(modules), undefined, 1)}\n`],
    ...modules.map(module => [`${MODULE_PAGES}/${module.name}.md`, moduleReference(module)] as const),
  ])
}

/** What follows from the sources and from a server that runs. */
export function reference(modules: readonly ModuleDefinition[], server: Running): [string, string][] {
  const files = globSync('src/modules/**/mod_*.ts', { cwd: ROOT }).map(file => file.split(path.sep).join('/'))
  const xeps = spoken(modules, module => files.find(file => file.endsWith(`/${module}.ts`))!)
  const about = { version: VERSION, description: packageJson.description }
  return [...referencePages(server, xeps), ['hermod.doap', doap(xeps, about)], ['src/declared.ts', leading(sources())]]
}

async function main(check: boolean): Promise<void> {
  const modules = await builtinModules()
  const files = new Map([...generate(modules), ...reference(modules, await running(modules))])
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
