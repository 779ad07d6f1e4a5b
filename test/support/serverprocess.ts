/**
 * A server as a real process, for tests that stop, kill and freeze it: hermod from this tree, or any other server that has
 * a script with the verbs `start` (returns when the port answers), `stop`, `pid` and `env` (prints one line of JSON:
 * name, domain, port, tlsPort).
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { eventually } from './waiting.ts'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export interface ServerProcess {
  readonly name: string
  readonly domain: string
  readonly port: number
  readonly tlsPort: number
  /** File with all that the process prints. */
  readonly log: string
  readonly running: boolean
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

interface HermodOptions {
  /** Folder of this run: `data` (unless given) and the log file go into it. */
  folder: string
  data?: string
  domain?: string
  /** Duration text as in the configuration, such as '5m'. */
  resumeTimeout?: string
  /** Configuration file; `config/test.yml` when not given. */
  config?: string
  /** More environment for the configuration. */
  env?: Record<string, string>
  /** Options set on the command line: `path.to.option=value`. */
  sets?: string[]
}

/** hermod from this tree with `config/test.yml`, on free ports; not yet started. */
export async function hermodProcess(options: HermodOptions): Promise<HermodProcess> {
  const [port, tlsPort, httpPort] = await freePorts(3)
  return new HermodProcess(options, port!, tlsPort!, httpPort!)
}

class HermodProcess implements ServerProcess {
  readonly name = 'hermod'
  readonly domain: string
  readonly port: number
  readonly tlsPort: number
  readonly log: string
  died: string | undefined
  private readonly env: NodeJS.ProcessEnv
  private readonly sets: readonly string[]
  private readonly config: string
  private process: ChildProcess | undefined
  private gone: Promise<void> = Promise.resolve()
  private told = false

  constructor(options: HermodOptions, port: number, tlsPort: number, httpPort: number) {
    this.domain = options.domain ?? 'hermod.test'
    this.port = port
    this.tlsPort = tlsPort
    mkdirSync(options.folder, { recursive: true })
    this.log = join(options.folder, 'server.log')
    // Its domain has no address.
    const upload = `modules.mod_http_upload.put_url=http://127.0.0.1:${httpPort}/upload`
    this.sets = [...(options.config === undefined ? [upload] : []), ...(options.sets ?? [])]
    this.config = options.config ?? 'config/test.yml'
    this.env = {
      ...process.env,
      HERMOD_DOMAIN: this.domain,
      HERMOD_DATA: options.data ?? join(options.folder, 'data'),
      HERMOD_PORT: String(port),
      HERMOD_TLS_PORT: String(tlsPort),
      HERMOD_HTTP_PORT: String(httpPort),
      HERMOD_RESUME_TIMEOUT: options.resumeTimeout ?? '5m',
      ...options.env,
    }
  }

  get running(): boolean {
    return this.process !== undefined
  }

  async start(): Promise<void> {
    const out = openSync(this.log, 'a')
    const sets = this.sets.flatMap(set => ['--set', set])
    const args = ['src/cli/hermod.ts', 'start', '--config', this.config, ...sets]
    const child = spawn(process.execPath, args, { cwd: ROOT, env: this.env, stdio: ['ignore', out, out] })
    closeSync(out)
    this.process = child
    this.told = false
    const orphan = (): boolean => child.kill('SIGKILL')
    process.once('exit', orphan)
    this.gone = new Promise(resolve => {
      child.once('error', () => resolve())
      child.once('exit', (code, signal) => {
        process.off('exit', orphan)
        if (!this.told) this.died = `the server ended by itself (${signal ?? code})`
        this.process = undefined
        resolve()
      })
    })
    await answering(this.port, () => this.running, this.log)
  }

  /** Runs `hermodctl`, as a person types it. */
  async ctl(...words: string[]): Promise<{ code: number; out: string; err: string }> {
    const socket = join(this.env['HERMOD_DATA']!, 'hermodctl.sock')
    await eventually(() => existsSync(socket), 'the socket of hermodctl')
    const args = ['src/cli/hermodctl.ts', '--socket', socket, ...words]
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { code: child.exitCode!, out, err }
  }

  async stop(timeout = 20_000): Promise<void> {
    const child = this.process
    if (!child) return
    this.told = true
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, timeout)
    child.kill('SIGTERM')
    await this.gone
    clearTimeout(timer)
    if (late) throw new Error(`the server did not end within ${timeout} ms of SIGTERM`)
  }

  async kill(): Promise<void> {
    this.told = true
    this.process?.kill('SIGKILL')
    await this.gone
  }

  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGHUP'): void {
    this.process?.kill(name)
  }
}

/** A server driven by a script (see the head of this file); not yet started. `env` is added to the script's environment. */
export async function scriptedServer(script: string, env: Record<string, string> = {}): Promise<ServerProcess> {
  const [port, tlsPort] = await freePorts(2)
  const all = { ...process.env, PORT: String(port), TLS_PORT: String(tlsPort), ...env }
  const { stdout } = await run(script, ['env'], { env: all })
  const said: unknown = JSON.parse(stdout)
  if (typeof said !== 'object' || said === null || !('port' in said) || !('domain' in said)) {
    throw new Error(`${script} env: ${stdout}`)
  }
  const name = 'name' in said ? String(said.name) : script
  return new Scripted(script, all, name, String(said.domain), Number(said.port), tlsPort!)
}

class Scripted implements ServerProcess {
  readonly name: string
  readonly domain: string
  readonly port: number
  readonly tlsPort: number
  readonly log: string
  readonly died = undefined
  private readonly script: string
  private readonly env: NodeJS.ProcessEnv
  private pid = 0
  private readonly orphan = (): void => {
    this.send('SIGKILL')
  }

  constructor(script: string, env: NodeJS.ProcessEnv, name: string, domain: string, port: number, tlsPort: number) {
    this.script = script
    this.env = env
    this.name = name
    this.domain = domain
    this.port = port
    this.tlsPort = tlsPort
    this.log = `the log of ${script}`
  }

  async start(): Promise<void> {
    // The script's own standard output stays open in the server it leaves behind: inheriting nothing lets it end.
    const child = spawn(this.script, ['start'], { env: this.env, stdio: 'ignore' })
    const code = await new Promise(resolve => child.once('exit', resolve))
    if (code !== 0) throw new Error(`${this.script} start ended with ${code}`)
    this.pid = Number((await run(this.script, ['pid'], { env: this.env })).stdout)
    process.off('exit', this.orphan)
    process.once('exit', this.orphan)
    await answering(this.port, () => this.running, this.log)
  }

  async stop(): Promise<void> {
    process.off('exit', this.orphan)
    await run(this.script, ['stop'], { env: this.env })
    this.pid = 0
  }

  async kill(): Promise<void> {
    this.send('SIGKILL')
    await run(this.script, ['stop'], { env: this.env })
    this.pid = 0
  }

  get running(): boolean {
    return this.send(0)
  }

  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGHUP'): void {
    this.send(name)
  }

  /** False when there is no such process (any more). */
  private send(signal: NodeJS.Signals | 0): boolean {
    if (this.pid === 0) return false
    try {
      return process.kill(this.pid, signal)
    } catch {
      return false
    }
  }
}

/** Ports nobody listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports: number[] = []
  for (const server of servers) {
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    if (address && typeof address === 'object') ports.push(address.port)
  }
  for (const server of servers) await new Promise(resolve => server.close(resolve))
  return ports
}

async function answering(port: number, alive: () => boolean, log: string): Promise<void> {
  await eventually(
    () => {
      if (!alive()) throw new Error(`the server did not start:\n${tail(log)}`)
      return new Promise<boolean>(resolve => {
        const socket = connect(port, '127.0.0.1')
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
        socket.once('connect', () => socket.destroy())
      })
    },
    `listening on port ${port}`,
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
