/** A client of another family (slixmpp, in a process of its own) and how to get it. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { bringPython } from '../../scripts/venv.ts'

const SCRIPT = fileURLToPath(new URL('../e2e/device.py', import.meta.url))
const SLIXMPP = '1.17.0'
/** It uploads files with this. */
const AIOHTTP = 'aiohttp==3.14.5'

/** The Python that has slixmpp; undefined where it cannot be had, and why. */
export async function slixmpp(): Promise<{ python: string } | { missing: string }> {
  try {
    return { python: path.join(await bringPython('slixmpp', SLIXMPP, AIOHTTP), 'bin/python') }
  } catch (error) {
    return { missing: `slixmpp cannot be had from PyPI: ${String(error).slice(0, 200)}` }
  }
}

interface DeviceOptions {
  python: string
  port: number
  jid: string
  password: string
  /** The certificate that the server shows. */
  authority: string
}

interface Told {
  event?: string
  number?: number
  result?: unknown
  error?: string
  body?: string
  id?: string
}

export class Device {
  readonly #process: ChildProcessWithoutNullStreams
  readonly #told: Told[] = []
  #waiting: (() => void)[] = []
  #number = 0
  #ended: string | undefined

  private constructor(options: DeviceOptions) {
    const { python, port, jid, password, authority } = options
    this.#process = spawn(python, [SCRIPT, String(port), jid, password, authority])
    const orphan = (): boolean => this.#process.kill('SIGKILL')
    process.once('exit', orphan)
    let complaints = ''
    this.#process.stderr.on('data', chunk => {
      complaints = `${complaints}${chunk}`.slice(-2000)
    })
    this.#process.on('exit', code => {
      process.off('exit', orphan)
      this.#ended = `the slixmpp client ended (${code}): ${complaints}`
      this.#wake()
    })
    createInterface({ input: this.#process.stdout }).on('line', line => {
      this.#told.push(JSON.parse(line) as Told)
      this.#wake()
    })
  }

  /** Resolves when it is online. */
  static async start(options: DeviceOptions): Promise<Device> {
    const device = new Device(options)
    await device.hears(told => told.event === 'online')
    return device
  }

  async hears(matches: (told: Told) => boolean, timeout = 15_000): Promise<Told> {
    const until = performance.now() + timeout
    for (;;) {
      const at = this.#told.findIndex(matches)
      if (at >= 0) return this.#told.splice(at, 1)[0]!
      if (this.#ended !== undefined) throw new Error(this.#ended)
      const left = until - performance.now()
      if (left <= 0) throw new Error(`the slixmpp client did not hear it; it told ${JSON.stringify(this.#told)}`)
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, left)
        this.#waiting.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  message(body: string): Promise<Told> {
    return this.hears(told => told.event === 'message' && told.body === body)
  }

  async do(what: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const number = ++this.#number
    this.#process.stdin.write(`${JSON.stringify({ do: what, number, ...args })}\n`)
    const { result, error } = await this.hears(told => told.number === number)
    if (error !== undefined) throw new Error(`${what}: ${error}`)
    return result
  }

  stop(): void {
    this.#process.kill('SIGKILL')
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}
