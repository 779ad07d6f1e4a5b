/**
 * A server as a real process, for tests that stop, kill and freeze it: hermod from this tree, or any other server that has
 * a script with the verbs `start` (returns when the port answers), `stop`, `pid` and `env` (prints one line of JSON:
 * name, domain, port, tlsPort).
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { answering, Launched, type ServerProcess } from './launched.ts'
import { eventually } from './waiting.ts'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../../', import.meta.url))

interface HermodOptions {
  /** Folder of this run: `data` (unless given) and the log file go into it. */
  folder: string
  data?: string
  domain?: string
  /** The address on which it listens; 127.0.0.1 when not given. */
  ip?: string
  /** Duration text as in the configuration, such as '5m'. */
  resumeTimeout?: string
  /** Configuration file; `config/test.yml` when not given. */
  config?: string
  /** More environment for the configuration. */
  env?: Record<string, string>
  /** Options set on the command line: `path.to.option=value`. */
  sets?: string[]
  /** The one core that it may use. */
  core?: number | undefined
}

/** hermod from this tree with `config/test.yml`, on free ports; not yet started. */
export async function hermodProcess(options: HermodOptions): Promise<HermodProcess> {
  const [port, tlsPort, httpPort] = await freePorts(3)
  return new HermodProcess(options, port!, tlsPort!, httpPort!)
}

export class HermodProcess extends Launched {
  readonly #data: string

  constructor(options: HermodOptions, port: number, tlsPort: number, httpPort: number) {
    const { folder, domain = 'hermod.test', ip = '127.0.0.1', data = join(folder, 'data') } = options
    mkdirSync(folder, { recursive: true })
    // Its domain has no address.
    const upload = `modules.mod_http_upload.put_url=http://${ip}:${httpPort}/upload`
    const sets = [...(options.config === undefined ? [upload] : []), ...(options.sets ?? [])]
    const config = options.config ?? 'config/test.yml'
    super({
      ...{ name: 'hermod', domain, ip, port, tlsPort, log: join(folder, 'server.log') },
      command: process.execPath,
      args: ['src/cli/hermod.ts', 'start', '--config', config, ...sets.flatMap(set => ['--set', set])],
      cwd: ROOT,
      core: options.core,
      env: {
        ...process.env,
        HERMOD_DOMAIN: domain,
        HERMOD_DATA: data,
        HERMOD_IP: ip,
        HERMOD_PORT: String(port),
        HERMOD_TLS_PORT: String(tlsPort),
        HERMOD_HTTP_PORT: String(httpPort),
        HERMOD_RESUME_TIMEOUT: options.resumeTimeout ?? '5m',
        ...options.env,
      },
    })
    this.#data = data
  }

  /** Runs `hermodctl`, as a person types it. */
  async ctl(...words: string[]): Promise<{ code: number; out: string; err: string }> {
    const socket = join(this.#data, 'hermodctl.sock')
    await eventually(() => existsSync(socket), 'the socket of hermodctl')
    const args = ['src/cli/hermodctl.ts', '--socket', socket, ...words]
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { code: child.exitCode!, out, err }
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
  readonly ip = '127.0.0.1'
  readonly port: number
  readonly tlsPort: number
  readonly log: string
  readonly died = undefined
  private readonly script: string
  private readonly env: NodeJS.ProcessEnv
  pid = 0
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
    await answering({ host: this.ip, port: this.port }, () => this.running, this.log)
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
