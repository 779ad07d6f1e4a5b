import { existsSync } from 'node:fs'
import path from 'node:path'
import { formatDiagnostic } from '../config/diagnostics.ts'
import { loadConfig } from '../config/load.ts'
import { builtinModules, loadModule } from '../modules.ts'

export interface ConfigSource {
  file: string | undefined
  sets: readonly string[]
}

const DEFAULT_FILE = 'hermod.yml'

/** The file that is meant: the one named, or ./hermod.yml if it is there, or none. */
export function configFile(source: ConfigSource): string | undefined {
  return source.file ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined)
}

/** The configuration, and the modules that it names. Rejects with ConfigError. */
export async function readConfig(source: ConfigSource) {
  const file = configFile(source)
  const base = path.dirname(path.resolve(file ?? DEFAULT_FILE))
  const loaded = await loadConfig({
    ...(file === undefined ? {} : { file }),
    sets: source.sets,
    modules: await builtinModules(),
    loadModule: name => loadModule(name, base),
  })
  return { ...loaded, formatted: loaded.diagnostics.map(formatDiagnostic) }
}
