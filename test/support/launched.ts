/** A server as a child of this process: started on the same data again and again, stopped, killed, frozen. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { eventually } from './waiting.ts'

interface Place {
  readonly name: string
  readonly domain: string
  /** The address on which it listens. */
  readonly ip: string
  /** Of clients, without TLS or with STARTTLS, and with direct TLS. */
  readonly port: number
  readonly tlsPort: number
  /** File with what it has to say. */
  readonly log: string
}

export interface ServerProcess extends Place {
  readonly running: boolean
  /** Of its first process; undefined while there is none. */
  readonly pid: number | undefined
  /** Set when the process ended though nobody told it to: how. */
  readonly died: string | undefined
  /** Starts it on the same data; resolves when the port answers. */
  start(): Promise<void>
  /** SIGTERM; resolves when the process is gone. Rejects after `timeout` ms (and kills it). */
  stop(timeout?: number): Promise<void>
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>
  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGHUP'): void
}

export interface Launch extends Place {
  /** File with what it prints, where that is another. */
  readonly output?: string
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  /** The one core that it may use. */
  readonly core?: number | undefined
}

export class Launched implements ServerProcess {
  readonly name: string
  readonly domain: string
  readonly ip: string
  readonly port: number
  readonly tlsPort: number
  readonly log: string
  died: string | undefined
  readonly #launch: Launch
  #process: ChildProcess | undefined
  #gone: Promise<void> = Promise.resolve()
  #told = false

  constructor(launch: Launch) {
    this.name = launch.name
    this.domain = launch.domain
    this.ip = launch.ip
    this.port = launch.port
    this.tlsPort = launch.tlsPort
    this.log = launch.log
    this.#launch = launch
  }

  get running(): boolean {
    return this.#process !== undefined
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  async start(): Promise<void> {
    const { cwd, env, log, output = log, core } = this.#launch
    const out = openSync(output, 'a')
    const pinned = core === undefined ? [] : ['taskset', '-c', String(core)]
    const [command = '', ...args] = [...pinned, this.#launch.command, ...this.#launch.args]
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', out, out] })
    closeSync(out)
    this.#process = child
    this.#told = false
    const orphan = (): boolean => child.kill('SIGKILL')
    process.once('exit', orphan)
    this.#gone = new Promise(resolve => {
      child.once('error', () => resolve())
      child.once('exit', (code, signal) => {
        process.off('exit', orphan)
        if (!this.#told) this.died = `the server ${this.name} ended by itself (${signal ?? code})`
        this.#process = undefined
        resolve()
      })
    })
    await answering({ host: this.ip, port: this.port }, () => this.running, output)
  }

  async stop(timeout = 20_000): Promise<void> {
    const child = this.#process
    if (!child) return
    this.#told = true
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, timeout)
    child.kill('SIGTERM')
    await this.#gone
    clearTimeout(timer)
    if (late) throw new Error(`the server ${this.name} did not end within ${timeout} ms of SIGTERM`)
  }

  async kill(): Promise<void> {
    this.#told = true
    this.#process?.kill('SIGKILL')
    await this.#gone
  }

  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGHUP'): void {
    this.#process?.kill(name)
  }
}

/** Waits until somebody listens there. Rejects with the end of the log where the server is not `alive` any more. */
export async function answering(
  where: { host: string; port: number },
  alive: () => boolean,
  log: string,
): Promise<void> {
  await eventually(
    () => {
      if (!alive()) throw new Error(`the server did not start:\n${tail(log)}`)
      return new Promise<boolean>(resolve => {
        const socket = connect(where)
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
        socket.once('connect', () => socket.destroy())
      })
    },
    `listening on port ${where.port} of ${where.host}`,
    30_000,
  )
}

/** The last lines of a log file, for an error message. */
export function tail(file: string, lines = 20): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
  } catch {
    return `(no ${file})`
  }
}
