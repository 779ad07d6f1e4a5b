import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from '../config/core.ts'
import { SOCKET_NAME } from '../core/control/protocol.ts'
import { ControlSocket } from '../core/control/socket.ts'
import { createLog, type Logger } from '../core/log.ts'
import { Server } from '../server.ts'
import { type ConfigSource, readConfig } from './config.ts'
import { greet } from './greeting.ts'

type Leave = 'stop' | 'restart'

/** Runs a server until it is told to stop; the exit code. */
export async function runServer(source: ConfigSource): Promise<number> {
  for (;;) {
    const how = await runOnce(source)
    if (how === 'stop') return 0
  }
}

async function runOnce(source: ConfigSource): Promise<Leave> {
  const { config, modules, formatted } = await readConfig(source)
  const log = createLog({ level: config.loglevel, format: config.log_format })
  for (const line of formatted) log.warn(line)
  const { promise, resolve: leave } = Promise.withResolvers<Leave>()
  const server = await Server.start({ config, modules, log, reread: () => readConfig(source), leave }).catch(explain)
  const onCrash = guard(log)
  const files = await openFiles(server, config, log)
  const stop = (signal: NodeJS.Signals): void => {
    log.info({ signal }, 'stopping')
    leave('stop')
    // Whoever asks twice does not want to wait.
    if (signal === 'SIGINT') process.once('SIGINT', () => process.exit(130))
  }
  const reload = (): void => {
    server.reloadConfig().catch((error: unknown) => {
      log.error(`not reloaded, all stays as it was: ${error instanceof Error ? error.message : String(error)}`)
    })
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  process.on('SIGHUP', reload)
  const how = await promise
  process.off('SIGHUP', reload)
  process.off('SIGTERM', stop)
  process.off('SIGINT', stop)
  await server.stop()
  await files.close()
  onCrash.undo()
  return how
}

/** What a person can do about a server that does not start. */
function explain(error: unknown): never {
  const { code, port, address } = error as NodeJS.ErrnoException & { port?: number; address?: string }
  if (code === 'EADDRINUSE') {
    throw new Error(`port ${port} is in use: stop what listens there, or choose another with --set listen.0.port=PORT`)
  }
  if (code === 'EACCES' && port !== undefined) {
    throw new Error(`port ${port} on ${address} may not be opened by this user: choose one above 1023`)
  }
  throw error
}

async function openFiles(server: Server, config: Config, log: Logger): Promise<{ close(): Promise<void> }> {
  if (config.storage.driver === 'memory') return { close: async () => {} }
  const pidFile = path.join(config.data, 'hermod.pid')
  const hosts = (): string[] => server.hosts.map(host => host.name)
  const socket = await ControlSocket.open(
    config.ctl_socket ?? path.join(config.data, SOCKET_NAME),
    server.commands,
    hosts,
    log,
  )
  await writeFile(pidFile, `${process.pid}\n`)
  await greet(server, config)
  return {
    close: async () => {
      await socket.close()
      await rm(pidFile, { force: true })
    },
  }
}

/** A promise that nobody awaited must not take everybody's sessions down; an exception out of nowhere does. */
function guard(log: Logger): { undo(): void } {
  const rejected = (error: unknown): void => log.error({ err: error }, 'a promise was rejected and nobody took it')
  const thrown = (error: unknown): void => {
    log.fatal({ err: error }, 'an exception was not caught; the server ends. What it acknowledged is on the disk.')
    process.exit(70)
  }
  process.on('unhandledRejection', rejected)
  process.on('uncaughtException', thrown)
  return {
    undo: () => {
      process.off('unhandledRejection', rejected)
      process.off('uncaughtException', thrown)
    },
  }
}
