/**
 * Brings and runs a real S3 server for tests: OpenStack Swift with its S3 API, a package of PyPI. It needs Python 3 with
 * `venv`, and nothing else of the system: all of it lies in `node_modules/.cache`, its data where the caller says.
 *
 *     node scripts/s3.ts            # runs one until Ctrl-C, and prints how to reach it
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { freePorts } from '../test/support/serverprocess.ts'
import { bringPython } from './venv.ts'

const run = promisify(execFile)
const VERSION = '2.38.3'
const KINDS = ['account', 'container', 'object', 'proxy'] as const
type Kind = (typeof KINDS)[number]

/** The folder of a Python environment with Swift in it. Rejects where it cannot be had: no Python, or no way to PyPI. */
export function bringS3(): Promise<string> {
  return bringPython('swift', VERSION)
}

/** Four processes: a proxy that speaks S3, and the servers of accounts, containers and objects behind it. */
export class S3Server {
  readonly accessKey = 'test:tester'
  readonly secretKey = 'testing'
  readonly region = 'us-east-1'
  readonly folder: string
  readonly #bin: string
  readonly #ports: Record<Kind, number>
  readonly #processes = new Map<Kind, ChildProcess>()

  private constructor(folder: string, bin: string, ports: Record<Kind, number>) {
    this.folder = folder
    this.#bin = bin
    this.#ports = ports
  }

  /** Starts one on free ports of loopback, with its data in this folder. */
  static async start(folder: string): Promise<S3Server> {
    const bin = path.join(await bringS3(), 'bin')
    const [account, container, object, proxy] = await freePorts(4)
    const server = new S3Server(folder, bin, {
      account: account!,
      container: container!,
      object: object!,
      proxy: proxy!,
    })
    await server.#lay()
    try {
      await server.resume()
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#ports.proxy}`
  }

  /** Starts what does not run; resolves when it answers. */
  async resume(): Promise<void> {
    for (const kind of KINDS) if (!this.#processes.has(kind)) this.#spawn(kind)
    for (let tries = 0; ; tries++) {
      const failed = [...this.#processes].find(([, child]) => child.exitCode !== null)
      if (failed !== undefined || tries > 300) {
        const log = await readFile(path.join(this.folder, 'log'), 'utf8').catch(() => '')
        throw new Error(`the S3 server did not start:\n${log}`)
      }
      const answered = await fetch(this.endpoint, { signal: AbortSignal.timeout(1000) }).catch(() => undefined)
      if (answered !== undefined && (await this.#listening())) return
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }

  async stop(): Promise<void> {
    await Promise.all(KINDS.map(kind => this.#end(kind)))
  }

  /** Stops its processes where they are: connections are accepted, and nothing answers. */
  freeze(): void {
    for (const child of this.#processes.values()) child.kill('SIGSTOP')
  }

  thaw(): void {
    for (const child of this.#processes.values()) child.kill('SIGCONT')
  }

  /** A full disk: objects are refused (507) as long as less than all of it is free. */
  async full(full: boolean): Promise<void> {
    await this.#end('object')
    await this.#configure('object', full ? '100%' : '0')
    await this.resume()
  }

  async #lay(): Promise<void> {
    await mkdir(path.join(this.folder, 'devices/d1'), { recursive: true })
    const policy = '[storage-policy:0]\nname = default\ndefault = yes\n'
    await this.#write('swift.conf', `[swift-hash]\nswift_hash_path_suffix = hermod\n${policy}`)
    for (const kind of ['account', 'container', 'object'] as const) {
      const device = `r1z1-127.0.0.1:${this.#ports[kind]}/d1`
      for (const words of [['create', '2', '1', '1'], ['add', device, '1'], ['rebalance']]) {
        await this.#python('swift-ring-builder', `${kind}.builder`, ...words)
      }
      await this.#configure(kind, '0')
    }
    await this.#write('proxy.conf', proxyConfig(this.#common('proxy')))
  }

  #common(kind: Kind): string {
    const { username } = os.userInfo()
    const lines = [
      '[DEFAULT]',
      'bind_ip = 127.0.0.1',
      `bind_port = ${this.#ports[kind]}`,
      'workers = 0',
      `user = ${username}`,
      `swift_dir = ${this.folder}`,
      `devices = ${path.join(this.folder, 'devices')}`,
      'mount_check = false',
    ]
    return lines.join('\n')
  }

  #configure(kind: Kind, reserve: string): Promise<void> {
    const app = `[pipeline:main]\npipeline = ${kind}-server\n[app:${kind}-server]\nuse = egg:swift#${kind}\n`
    return this.#write(`${kind}.conf`, `${this.#common(kind)}\nfallocate_reserve = ${reserve}\n${app}`)
  }

  #write(name: string, text: string): Promise<void> {
    return writeFile(path.join(this.folder, name), text)
  }

  #python(program: string, ...args: string[]) {
    return run(path.join(this.#bin, 'python'), [path.join(this.#bin, program), ...args], { cwd: this.folder })
  }

  #spawn(kind: Kind): void {
    const log = openSync(path.join(this.folder, 'log'), 'a')
    const args = [path.join(this.#bin, `swift-${kind}-server`), path.join(this.folder, `${kind}.conf`)]
    const child = spawn(path.join(this.#bin, 'python'), args, { cwd: this.folder, stdio: ['ignore', log, log] })
    closeSync(log)
    const end = (): void => void child.kill('SIGKILL')
    process.once('exit', end)
    child.once('exit', () => process.off('exit', end))
    this.#processes.set(kind, child)
  }

  async #end(kind: Kind): Promise<void> {
    const child = this.#processes.get(kind)
    if (child === undefined) return
    this.#processes.delete(kind)
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGKILL')
    await gone
  }

  async #listening(): Promise<boolean> {
    const asked = KINDS.map(kind => fetch(`http://127.0.0.1:${this.#ports[kind]}/healthcheck`).then(() => true))
    return (await Promise.allSettled(asked)).every(answer => answer.status === 'fulfilled')
  }
}

function proxyConfig(common: string): string {
  return `${common}
[pipeline:main]
pipeline = catch_errors gatekeeper cache s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
error_suppression_interval = 0.01
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
`
}

if (import.meta.main) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 's3-'))
  const server = await S3Server.start(folder)
  console.log(`endpoint: ${server.endpoint}\naccess_key: ${server.accessKey}\nsecret_key: ${server.secretKey}`)
  process.once('SIGINT', () => {
    void server.stop().then(() => rm(folder, { recursive: true, force: true }))
  })
}
