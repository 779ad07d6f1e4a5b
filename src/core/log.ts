import { type DestinationStream, type Logger, pino } from 'pino'
import { build as pretty } from 'pino-pretty'

export type { Logger } from 'pino'

export const LOG_LEVELS = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface LogOptions {
  level: LogLevel
  /** `auto`: readable on a terminal, JSON otherwise. */
  format: 'auto' | 'pretty' | 'json'
  /** Where lines go; default standard output. */
  destination?: DestinationStream
}

/** What must never reach a log, wherever it stands in a line. */
const SECRETS = ['password', '*.password', 'secret', '*.secret', 'token', '*.token']

/** The server's logger. Bodies of stanzas are written at `trace` only, passwords and keys never. */
export function createLog(options: LogOptions): Logger {
  const readable = options.format === 'pretty' || (options.format === 'auto' && process.stdout.isTTY)
  const settings = { level: options.level, base: undefined, redact: { paths: SECRETS, censor: '***' } }
  if (options.destination !== undefined) return pino(settings, options.destination)
  if (!readable) return pino(settings)
  return pino(
    settings,
    pretty({ colorize: process.stdout.isTTY, translateTime: 'SYS:HH:MM:ss.l', singleLine: true, sync: true }),
  )
}
