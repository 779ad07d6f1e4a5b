import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from '../config/core.ts'
import { OptionError } from '../config/diagnostics.ts'
import { forgetLibraries } from '../config/libraries.ts'
import { createLog } from '../core/log.ts'
import { Server } from '../server.ts'
import { makePrivate } from '../util/private.ts'
import { VERSION } from '../version.ts'
import { type ConfigSource, configFile, readConfig } from './config.ts'
import { ControlPort, controlPath } from './controlport.ts'
import { explain } from './explain.ts'
import { greeting } from './greeting.ts'
import { invocation } from './invocation.ts'
import { shrinkWhenQuiet } from './shrink.ts'
import { handleCrashes, handleSignals } from './signals.ts'

type Leave = 'stop' | 'restart'

/** Runs a server until it is told to stop; the exit code. A restart puts a new process in the place of this one. */
export async function runServer(source: ConfigSource): Promise<number> {
  // Whatever is written, by whichever library, is for this user alone.
  process.umask(0o077)
  for (let first = true; ; first = false) {
    const how = await runOnce(source, first ? 0 : performance.now())
    if (how === 'stop') return 0
    startAnew()
  }
}

/**
 * The same process by its id, standard streams and parent, and new in all else: its code is read again. Where the system
 * cannot do that (Windows), it returns, and the next server runs with the code of this one.
 */
function startAnew(): void {
  const { execPath, execArgv, argv } = process
  if (process.platform !== 'win32') process.execve?.(execPath, [execPath, ...execArgv, ...argv.slice(1)], process.env)
}

/** `begun`: when the start began, ms since the process did. */
async function runOnce(source: ConfigSource, begun: number): Promise<Leave> {
  const { config, modules, formatted, located } = await readConfig(source)
  const log = createLog({ level: config.loglevel, format: config.log_format })
  log.info({ ...about(source, config) }, 'starting')
  for (const line of formatted) log.warn(line)
  const exit = (code: number): never => process.exit(code)
  const { promise, resolve: leave } = Promise.withResolvers<Leave>()
  let server: Server | undefined
  const control = new ControlPort()
  const reload = (): void => {
    server?.reloadConfig().catch((error: unknown) => {
      log.error(`not reloaded, all stays as it was: ${error instanceof Error ? error.message : String(error)}`)
    })
  }
  const uncrash = handleCrashes(log, exit)
  const unshrink = shrinkWhenQuiet(log)
  const unsignal = handleSignals({ log, exit, reload, stop: () => leave('stop') })
  try {
    const reread = () => readConfig(source).finally(forgetLibraries)
    const outside = (next: Config) => control.prepare(next)
    const options = { config, modules, log, leave, reread, outside }
    server = await Server.start(options)
    return await serve(server, config, source, control, promise, () => {
      log.info({ ...about(source, config), ms: Math.round(performance.now() - begun) }, 'running')
    })
  } catch (error) {
    throw error instanceof OptionError ? located(error) : explain(error, config, invocation(process.env).start)
  } finally {
    unsignal()
    unshrink()
    uncrash()
  }
}

/** From the start of a server to its orderly stop. */
async function serve(
  server: Server,
  config: Config,
  source: ConfigSource,
  control: ControlPort,
  leaving: Promise<Leave>,
  running: () => void,
): Promise<Leave> {
  const pidFile = path.join(config.data, 'hermod.pid')
  const { commands, log } = server
  try {
    await makePrivate(config.data)
    await control.open(config, { commands, log })
    forgetLibraries()
    await writeFile(pidFile, `${process.pid}\n`)
    running()
    // What a store in memory holds is new every time: nothing of it is worth a greeting.
    if (config.storage.driver !== 'memory') {
      const { ctl } = invocation(process.env, finding(source, config))
      const text = await greeting(server, config, ctl, process.stdout.isTTY === true)
      if (text !== undefined) console.log(text)
    }
    return await leaving
  } finally {
    await server.stop()
    if (control.isOpen) await rm(pidFile, { force: true })
    await control.close()
  }
}

/** What an operator wants to know of a start. */
function about(source: ConfigSource, config: Config) {
  const { version: node, pid } = process
  const file = configFile(source)
  return { version: VERSION, node, pid, config: file ?? 'none', data: path.resolve(config.data), hosts: config.hosts }
}

/** The options by which hermodctl finds this server from the same folder. */
function finding(source: ConfigSource, config: Config): string[] {
  // What --set moved is in no file.
  if (source.sets.some(set => /^(?:data|ctl_socket)=/.test(set))) return ['--socket', controlPath(config)]
  return source.file === undefined ? [] : ['--config', source.file]
}
