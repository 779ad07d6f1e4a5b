import { createRequire } from 'node:module'
import { type DestinationStream, type Logger, pino, symbols } from 'pino'

export type { Logger } from 'pino'

export const LOG_LEVELS = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const
type LogLevel = (typeof LOG_LEVELS)[number]
/** `auto`: readable on a terminal, JSON otherwise. */
type LogFormat = 'auto' | 'pretty' | 'json'

interface LogOptions {
  level: LogLevel
  format: LogFormat
  /** Where lines go; default standard output. */
  destination?: DestinationStream
}

/** What must never reach a log, wherever it stands in a line. */
const SECRETS = ['password', '*.password', 'secret', '*.secret', 'token', '*.token']

/** The server's logger: lines of JSON with ISO 8601 times. Stanzas are written at `trace` only (see stream/trace.ts). */
export function createLog(options: LogOptions): Logger {
  const output = new LogOutput(options.format, options.destination)
  return pino(
    {
      level: options.level,
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      redact: { paths: SECRETS, censor: '***' },
      onChild: child => output.adopt(child),
    },
    output,
  )
}

/** Another level for a logger and all that came of it. */
export function setLogLevel(log: Logger, level: LogLevel): void {
  log.level = level
  outputOf(log)?.setLevel(level)
}

export function setLogFormat(log: Logger, format: LogFormat): void {
  outputOf(log)?.setFormat(format)
}

function outputOf(log: Logger): LogOutput | undefined {
  const stream: unknown = (log as unknown as Record<symbol, unknown>)[symbols.streamSym]
  return stream instanceof LogOutput ? stream : undefined
}

/** Where the lines of a logger go, in one format or the other. */
class LogOutput {
  readonly #plain: DestinationStream
  #to: DestinationStream
  /** pino's child loggers keep the level that they began with. */
  #children: WeakRef<Logger>[] = []

  constructor(format: LogFormat, destination: DestinationStream | undefined) {
    this.#plain = destination ?? pino.destination({ dest: 1, sync: true })
    this.#to = this.#plain
    this.setFormat(format)
  }

  write(line: string): void {
    this.#to.write(line)
  }

  adopt(child: Logger): void {
    this.#children = this.#children.filter(ref => ref.deref() !== undefined)
    this.#children.push(new WeakRef(child))
  }

  setLevel(level: LogLevel): void {
    for (const ref of this.#children) {
      const child = ref.deref()
      if (child !== undefined) child.level = level
    }
  }

  setFormat(format: LogFormat): void {
    const readable = format === 'pretty' || (format === 'auto' && process.stdout.isTTY)
    this.#to = readable ? pretty(this.#plain) : this.#plain
  }
}

/** For people: local time with its zone. Loaded only where people read. */
function pretty(destination: DestinationStream): DestinationStream {
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty')
  const line = prettyFactory({
    colorize: process.stdout.isTTY,
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l o',
    singleLine: true,
  })
  return { write: text => destination.write(line(text)) }
}
