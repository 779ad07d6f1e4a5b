import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from '../config/core.ts'
import { OptionError } from '../config/diagnostics.ts'
import { createLog } from '../core/log.ts'
import { Server } from '../server.ts'
import { makePrivate } from '../util/private.ts'
import { type ConfigSource, readConfig } from './config.ts'
import { ControlPort, controlPath } from './controlport.ts'
import { greeting } from './greeting.ts'
import { invocation } from './invocation.ts'
import { shrinkWhenQuiet } from './shrink.ts'
import { handleCrashes, handleSignals } from './signals.ts'

type Leave = 'stop' | 'restart'

/** Runs a server until it is told to stop; the exit code. A backup that was restored starts another in its place. */
export async function runServer(source: ConfigSource): Promise<number> {
  // Whatever is written, by whichever library, is for this user alone.
  process.umask(0o077)
  for (;;) {
    const how = await runOnce(source)
    if (how === 'stop') return 0
  }
}

async function runOnce(source: ConfigSource): Promise<Leave> {
  const { config, modules, formatted, located } = await readConfig(source)
  const log = createLog({ level: config.loglevel, format: config.log_format })
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
    const reread = () => readConfig(source)
    const outside = (next: Config) => control.prepare(next)
    const options = { config, modules, log, leave, reread, outside }
    server = await Server.start(options).catch((error: unknown) => {
      throw error instanceof OptionError ? located(error) : explain(error, config)
    })
    return await serve(server, config, source, control, promise)
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
): Promise<Leave> {
  const pidFile = path.join(config.data, 'hermod.pid')
  const { commands, log } = server
  try {
    await makePrivate(config.data)
    await control.open(config, { commands, hosts: () => server.hosts.map(host => host.name), log })
    await writeFile(pidFile, `${process.pid}\n`)
    // What a store in memory holds is new every time: nothing of it is worth a greeting.
    if (config.storage.driver !== 'memory') {
      const text = await greeting(server, config, invocation(process.env, finding(source, config)).ctl)
      if (text !== undefined) console.log(text)
    }
    return await leaving
  } finally {
    await server.stop()
    if (control.isOpen) await rm(pidFile, { force: true })
    await control.close()
  }
}

/** The options by which hermodctl finds this server from the same folder. */
function finding(source: ConfigSource, config: Config): string[] {
  // What --set moved is in no file.
  if (source.sets.some(set => /^(?:data|ctl_socket)=/.test(set))) return ['--socket', controlPath(config)]
  return source.file === undefined ? [] : ['--config', source.file]
}

/** What a person can do about a server that does not start. */
function explain(error: unknown, config: Config): never {
  const { code, port, address } = error as NodeJS.ErrnoException & { port?: number; address?: string }
  if (port === undefined) throw error
  const place = config.listen.findIndex(l => l.port === port)
  const other = `${invocation(process.env).start} --set listen.${Math.max(0, place)}.port=PORT`
  if (code === 'EADDRINUSE')
    throw new Error(`port ${port} is in use: stop what listens there, or choose another: ${other}`)
  if (code === 'EACCES') throw new Error(`this user may not open port ${port}: choose one above 1023: ${other}`)
  if (code === 'EADDRNOTAVAIL') throw new Error(`this machine has no address ${address} (listen.${place}.ip)`)
  throw error
}
