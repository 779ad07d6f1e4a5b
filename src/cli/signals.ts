import type { Logger } from '../core/log.ts'

/** Two within so many ms are one: npm passes on what the terminal has sent to both (Ctrl-C). */
const ECHO = 500

interface SignalHandlers {
  log: Logger
  stop(): void
  reload(): void
  /** Ends the process at once. */
  exit(code: number): void
  /** Ms, from anywhere. */
  now?: () => number
}

/** SIGTERM and SIGINT stop in order, a second SIGINT at once; SIGHUP reloads. Returns what takes them away again. */
export function handleSignals(handlers: SignalHandlers, from: NodeJS.EventEmitter = process): () => void {
  const { log, now = () => performance.now() } = handlers
  let stopping: number | undefined
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping === undefined) {
      stopping = now()
      log.info({ signal }, 'stopping')
      handlers.stop()
    } else if (signal === 'SIGINT' && now() - stopping > ECHO) {
      handlers.exit(130)
    }
  }
  const reload = (): void => handlers.reload()
  from.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', reload)
  return () => {
    from.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', reload)
  }
}

/** A promise that nobody awaited must not take everybody's sessions down; an exception out of nowhere does. */
export function handleCrashes(
  log: Logger,
  exit: (code: number) => void,
  from: NodeJS.EventEmitter = process,
): () => void {
  const rejected = (error: unknown): void => log.error({ err: error }, 'a promise was rejected and nobody took it')
  const thrown = (error: unknown): void => {
    log.fatal({ err: error }, 'an exception was not caught; the server ends. What it acknowledged is on the disk.')
    exit(70)
  }
  from.on('unhandledRejection', rejected).on('uncaughtException', thrown)
  return () => {
    from.off('unhandledRejection', rejected).off('uncaughtException', thrown)
  }
}
