/** What a server says of itself while every module runs on it: who listens to which hook, its commands, its metrics. */
import { loadConfig } from '../../src/config/load.ts'
import type { Command } from '../../src/core/commands/command.ts'
import type { ModuleDefinition } from '../../src/core/module.ts'
import { Server } from '../../src/server.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'

export interface Running {
  /** Handlers in the order in which they run. */
  readonly hooks: readonly { hook: string; order: number; owner: string }[]
  readonly commands: readonly Command[]
  readonly metrics: readonly { name: string; kind: string; help: string }[]
}

/** Starts a server that listens nowhere and keeps nothing, and stops it again. */
export async function running(builtin: readonly ModuleDefinition[]): Promise<Running> {
  const optional = builtin.filter(module => module.optional === true).map(({ name }) => [name, {}])
  const text = JSON.stringify({
    hosts: ['localhost'],
    loglevel: 'silent',
    listen: [],
    storage: { driver: 'memory' },
    blobs: { driver: 'memory' },
    modules: Object.fromEntries(optional),
  })
  const { config, modules } = await loadConfig({ text, modules: builtin, env: {} })
  const server = await Server.start({ config, modules, store: openMemoryStore() })
  try {
    const { body } = await server.metrics.text()
    return {
      hooks: server.host('localhost')!.hooks.list(),
      commands: server.commands.list(),
      metrics: metricsOf(body),
    }
  } finally {
    await server.stop()
  }
}

/** Our own, not those of Node and its process, of the text that Prometheus reads. */
function metricsOf(text: string): { name: string; kind: string; help: string }[] {
  const found = [...text.matchAll(/^# HELP (\w+) (.*)\n# TYPE \1 (\w+)$/gm)].map(m => ({
    name: m[1]!,
    kind: m[3]!,
    help: m[2]!,
  }))
  const ours = found.filter(({ name }) => !/^hermod_(process|nodejs)_/.test(name))
  return ours.sort((a, b) => (a.name < b.name ? -1 : 1))
}
