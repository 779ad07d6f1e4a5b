/**
 * Strangers and users who send whatever they like to a server with the default configuration, over real sockets, while a
 * bystander asks again and again whether it is still there.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import { type Chance, chance } from '../support/chance.ts'
import { type ServerProcess, tail } from '../support/launched.ts'
import { NS_SM, RawClient } from '../support/rawclient.ts'
import { StreamReader } from '../support/rawxml.ts'
import { freePorts, hermodProcess } from '../support/serverprocess.ts'
import { eventually } from '../support/waiting.ts'
import { Hostile } from './generate.ts'
import { type Vocabulary, vocabulary } from './vocabulary.ts'

interface CampaignOptions {
  seed: number
  /** Ms. */
  duration: number
  /** Only this batch, to see again what it did. */
  batch?: number
  /** The longest that an answer to the bystander may take (ms). */
  patience: number
  keep?: boolean
}

interface CampaignResult {
  batches: number
  elements: number
  connections: number
  /** The slowest answer to the bystander (ms). */
  slowest: number
  /** What is wrong, each in words. */
  failures: string[]
  /** Where the server's data and log are, if they were kept. */
  folder: string
}

/** Lines of the log that are no failure of the server, each with the reason. */
const EXPECTED: readonly [message: RegExp, reason: string][] = []

const USERS = ['mallory', 'mallory2']
/** Error and fatal (pino). */
const ERROR = 50

export async function campaign(options: CampaignOptions): Promise<CampaignResult> {
  const words = await vocabulary()
  const folder = await mkdtemp(path.join(tmpdir(), 'hermod-fuzz-'))
  const run = new Campaign(options, words, folder)
  const result = await run.run()
  if (!options.keep && result.failures.length === 0) await rm(folder, { recursive: true, force: true })
  return result
}

class Campaign {
  readonly #options: CampaignOptions
  readonly #words: Vocabulary
  readonly #folder: string
  readonly #result: CampaignResult
  /** What was sent last, newest at the end. */
  readonly #sent: string[] = []
  #server!: ServerProcess
  #until = 0
  #over = false

  constructor(options: CampaignOptions, words: Vocabulary, folder: string) {
    this.#options = options
    this.#words = words
    this.#folder = folder
    this.#result = { batches: 0, elements: 0, connections: 0, slowest: 0, failures: [], folder }
  }

  async run(): Promise<CampaignResult> {
    const result = this.#result
    this.#server = await hermodProcess({ folder: this.#folder, domain: 'localhost', config: await this.#config() })
    await this.#server.start()
    try {
      // The last thing of a start: hermodctl is answered by then.
      const started = path.join(this.#folder, 'data', 'hermod.pid')
      await eventually(() => existsSync(started), 'the start', 20_000)
      for (const user of [...USERS, 'victim', 'bystander']) await this.#account(user)
      this.#until = performance.now() + this.#options.duration
      const victim = await this.#login('victim', 'r1')
      victim.on('violation', what => this.#fail(`the victim got what it should not: ${what}`))
      const bystander = this.#bystander()
      const attackers = USERS.map((user, i) => this.#attack(user, i))
      await Promise.all([...attackers, this.#strangers()])
      this.#over = true
      await bystander
      victim.cut()
    } catch (error) {
      this.#fail(`the campaign itself failed: ${error instanceof Error ? error.stack : String(error)}`)
    }
    if (this.#server.died !== undefined) this.#fail(`${this.#server.died}:\n${tail(this.#server.log)}`)
    else await this.#server.stop().catch((error: unknown) => this.#fail(`it did not stop: ${error}`))
    await this.#readLog()
    if (result.failures.length > 0) {
      await writeFile(path.join(this.#folder, 'sent.txt'), this.#sent.join('\n'))
      result.failures.push(`what was sent last is in ${path.join(this.#folder, 'sent.txt')}`)
    }
    return result
  }

  /** The defaults, on free ports and in a folder of its own. */
  async #config(): Promise<string> {
    const file = path.join(this.#folder, 'hermod.yml')
    const [http] = await freePorts(1)
    const lines = [
      `data: ${path.join(this.#folder, 'data')}`,
      'listen:',
      // The ports that hermodProcess chose.
      `  - {port: "\${HERMOD_PORT}"}`,
      `  - {port: "\${HERMOD_TLS_PORT}", tls: true}`,
      `  - {port: ${http}, module: http, tls: true}`,
    ]
    await writeFile(file, lines.join('\n'))
    return file
  }

  #fail(what: string): void {
    if (this.#result.failures.length < 20) this.#result.failures.push(what)
    this.#over = true
  }

  get #done(): boolean {
    return this.#over || performance.now() > this.#until
  }

  /** An account with its password, whatever has become of it. */
  async #account(user: string): Promise<void> {
    await this.#command('register', `${user}@localhost`, 'secret')
    await this.#command('change_password', `${user}@localhost`, 'secret')
  }

  #command(command: string, ...args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(path.join(this.#folder, 'data', 'hermodctl.sock'))
      let answer = ''
      socket.on('data', chunk => {
        answer += String(chunk)
      })
      socket.on('error', reject)
      socket.on('close', () => resolve(answer))
      socket.end(`${JSON.stringify({ command, args })}\n`)
    })
  }

  #login(user: string, resource: string): Promise<RawClient> {
    this.#result.connections++
    const { port } = this.#server
    return RawClient.session({
      port,
      domain: 'localhost',
      tls: 'starttls',
      user,
      password: 'secret',
      resource,
      inbox: false,
    })
  }

  /** Asks the server for a sign of life, again and again. */
  async #bystander(): Promise<void> {
    const client = await this.#login('bystander', 'b')
    client.on('violation', what => this.#fail(`the bystander got what it should not: ${what}`))
    while (!this.#over) {
      const started = performance.now()
      try {
        await client.ping(this.#options.patience)
      } catch (error) {
        return this.#fail(`the bystander was not answered within ${this.#options.patience} ms (${error})`)
      }
      this.#result.slowest = Math.max(this.#result.slowest, performance.now() - started)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    client.cut()
  }

  /** The batches of one of those who send, each of which follows from the seed and its number alone. */
  *#batches(who: number): Generator<{ number: number; luck: Chance }> {
    const { batch, seed } = this.#options
    for (let number = who; !this.#done; number += USERS.length + 1) {
      if (batch === undefined || batch === number) yield { number, luck: chance((seed * 1_000_003 + number) >>> 0) }
      if (batch !== undefined && number >= batch) return
    }
  }

  #note(number: number, who: string, elements: readonly string[]): void {
    this.#result.batches++
    this.#result.elements += elements.length
    this.#sent.push(`#${number} ${who}: ${elements.join('\n    ')}`)
    if (this.#sent.length > 300) this.#sent.splice(0, 100)
  }

  /** A user: sends a batch, then waits until the server is done with it or has closed. */
  async #attack(user: string, index: number): Promise<void> {
    let client: RawClient | undefined
    for (const { number, luck } of this.#batches(index)) {
      if (client === undefined || client.closed || luck.one(0.02)) {
        client?.cut()
        client = await this.#login(user, `r${index}`).catch(() => undefined)
        if (client === undefined) {
          await this.#account(user) // removed, or with another password
          client = await this.#login(user, `r${index}`).catch((error: unknown) => void this.#fail(`no login: ${error}`))
          if (client === undefined) return
        }
        if (luck.one(0.5)) client.write(`<enable xmlns='${NS_SM}' resume='true'/>`)
        // What it sends is not counted, so only what it reads tells anything.
        client.on('violation', what => {
          if (what.startsWith('not well-formed'))
            this.#fail(`${user} got what is no XML after batch ${number}: ${what}`)
        })
      }
      const { elements, whole } = new Hostile(this.#words, luck).batch(true)
      this.#note(number, user, elements)
      const bytes = Buffer.from(elements.join(''))
      const sent = scrambled(luck, bytes)
      client.write(sent)
      // What is not whole may swallow whatever follows: then silence is no failure.
      const complete = whole && sent === bytes
      if (await settled(client, complete ? this.#options.patience : 200)) continue
      client.cut()
      if (complete) this.#fail(`batch ${number} of ${user} was neither answered nor its stream closed`)
    }
    client?.cut()
  }

  /** Those who never log in, or try to. */
  async #strangers(): Promise<void> {
    for (const { number, luck } of this.#batches(USERS.length)) {
      const hostile = new Hostile(this.#words, luck)
      const elements = [hostile.header(), ...hostile.batch(false).elements]
      this.#note(number, 'a stranger', elements)
      this.#result.connections++
      await this.#stranger(luck, elements).catch((error: unknown) => this.#fail(`batch ${number}: ${error}`))
    }
  }

  async #stranger(luck: Chance, elements: readonly string[]): Promise<void> {
    const direct = luck.one(0.5)
    // Each from an address of its own: too many failed logins from one would close the door for all. Where a system has only
    // one loopback address, strangers get no further than to connect.
    const localAddress = `127.${luck.int(1, 250)}.${luck.int(1, 250)}.${luck.int(1, 250)}`
    const port = direct ? this.#server.tlsPort : this.#server.port
    const tcp = connect({ host: '127.0.0.1', port, localAddress, noDelay: true })
    tcp.on('error', () => {})
    const socket: Socket = direct ? tlsConnect({ socket: tcp, rejectUnauthorized: false }) : tcp
    const wrong = await new Promise<string | undefined>(resolve => {
      let fault: string | undefined
      let encrypted = false
      const reader = new StreamReader(
        () => {},
        () => {},
      )
      const timer = setTimeout(() => socket.destroy(), luck.pick([30, 100, 300]))
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => {
        // After <proceed/> comes TLS, or nothing.
        encrypted ||= !direct && chunk.includes('<proceed ')
        if (!encrypted) fault ??= reader.write(chunk)
      })
      socket.on('close', () => {
        clearTimeout(timer)
        tcp.destroy()
        resolve(fault)
      })
      for (const element of elements) socket.write(scrambled(luck, Buffer.from(element)))
      if (luck.one(0.3)) socket.end()
      else if (luck.one(0.1)) tcp.resetAndDestroy()
    })
    if (wrong !== undefined) throw new Error(`it answered with what is no XML: ${wrong}`)
  }

  async #readLog(): Promise<void> {
    const lines = (await readFile(this.#server.log, 'utf8')).split('\n')
    for (const line of lines) {
      if (!line.startsWith('{')) continue
      const { level, msg } = JSON.parse(line) as { level: number | string; msg: string }
      const grave = typeof level === 'number' ? level >= ERROR : ['error', 'fatal'].includes(level)
      if (grave && !EXPECTED.some(([message]) => message.test(msg))) this.#fail(`in the log: ${line.slice(0, 2000)}`)
    }
  }
}

/** Whether the server has read everything of this client, or closed it, within so many ms. */
async function settled(client: RawClient, patience: number): Promise<boolean> {
  if (client.closed) return true
  const id = `settled${performance.now()}`
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const onElement = (el: { attrs: Record<string, string> }): void => {
    if (el.attrs['id'] === id) resolve(true)
  }
  const onClosed = (): void => resolve(true)
  client.on('element', onElement)
  client.on('closed', onClosed)
  client.write(`<iq type='get' id='${id}' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>`)
  const timer = setTimeout(() => resolve(false), patience)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    client.off('element', onElement)
    client.off('closed', onClosed)
  }
}

/** Bytes, now and then not those of UTF-8, or not all. */
function scrambled(luck: Chance, bytes: Buffer): Buffer {
  if (bytes.length === 0 || !luck.one(0.03)) return bytes
  const at = luck.int(0, bytes.length - 1)
  const wrong = luck.pick([
    [0xff],
    [0xc0, 0xaf],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0x80],
    [0xe2, 0x82],
    [0],
  ])
  if (luck.one(0.5)) return bytes.subarray(0, at)
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(wrong), bytes.subarray(at)])
}
