import { once } from 'node:events'
import { lstat, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { CommandError } from '../commands/command.ts'
import type { Commands } from '../commands/commands.ts'
import type { Logger } from '../log.ts'
import { type ControlAnswer, type ControlRequest, MAX_LINE, MAX_PATH } from './protocol.ts'

export interface ControlOptions {
  path: string
  commands: Commands
  log: Logger
}

/** The Unix socket that hermodctl talks to. Whoever may open it may do everything: it is for the server's own user. */
export class ControlSocket {
  readonly #server: Server
  readonly #path: string
  readonly #sockets = new Set<Socket>()

  private constructor(options: ControlOptions) {
    this.#path = options.path
    // Half-open, so that a client may end its side after the request: printf ... | nc -UN hermodctl.sock
    this.#server = createServer({ allowHalfOpen: true }, socket => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      void serve(socket, options)
    })
  }

  /** Rejects if another server answers there; what a killed one left is removed. */
  static async open(options: ControlOptions): Promise<ControlSocket> {
    const { path, log } = options
    if (Buffer.byteLength(path) > MAX_PATH) {
      throw new Error(`${path} is too long for a socket (${MAX_PATH} bytes at most): set ctl_socket to a shorter path`)
    }
    if (await answers(path)) throw new Error(`another hermod is running with this data folder (it answers at ${path})`)
    await removeOld(path)
    const control = new ControlSocket(options)
    await control.#listen()
    control.#server.on('error', error => log.error({ err: error }, 'the control socket failed'))
    return control
  }

  #listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      // The socket comes to be within listen(): at no moment may others open it.
      const before = process.umask(0o177)
      try {
        this.#server.listen(this.#path, () => {
          this.#server.off('error', reject)
          resolve()
        })
      } finally {
        process.umask(before)
      }
    })
  }

  /** Takes no more connections; those there are get their answers. */
  retire(): void {
    this.#server.close()
  }

  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
    await rm(this.#path, { force: true })
  }
}

/** What a killed server left; nothing else is ours to remove. */
async function removeOld(path: string): Promise<void> {
  const there = await lstat(path).catch(() => undefined)
  if (there === undefined) return
  if (!there.isSocket())
    throw new Error(`${path} is no socket: set ctl_socket to another path, or move away what is there`)
  await rm(path, { force: true })
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** One request after the other; the next is not read before the answer is out. */
async function serve(socket: Socket, options: ControlOptions): Promise<void> {
  const say = (answer: ControlAnswer): void => {
    // Progress can be left out; an answer cannot.
    if ('progress' in answer && socket.writableNeedDrain) return
    if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`)
  }
  socket.on('error', () => {})
  socket.setEncoding('utf8')
  try {
    for await (const line of lines(socket)) {
      await answer(line, options, say)
      // Who does not read gets no further answer made, and its requests stay where they are.
      if (socket.writableNeedDrain) await drained(socket)
    }
  } catch (error) {
    if (error instanceof CommandError) say({ error: { code: error.code, message: error.message } })
  }
  // What is still being sent is not read: a client that is told off is cut, not listened to.
  socket.end(() => socket.destroy())
}

async function drained(socket: Socket): Promise<void> {
  const over = new AbortController()
  const { signal } = over
  try {
    await Promise.race([once(socket, 'drain', { signal }), once(socket, 'close', { signal })])
  } finally {
    over.abort()
  }
}

/** Throws CommandError where a line is too long. */
async function* lines(socket: Socket): AsyncGenerator<string> {
  let text = ''
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += chunk
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      yield text.slice(0, end)
      text = text.slice(end + 1)
    }
    if (text.length > MAX_LINE) throw new CommandError('usage', `a request is at most ${MAX_LINE} characters`)
  }
}

async function answer(line: string, options: ControlOptions, say: (answer: ControlAnswer) => void): Promise<void> {
  const { commands, log } = options
  try {
    const { command, args, yes } = readRequest(line)
    if (command === 'commands') return say({ commands: commands.list() })
    const progress = (text: string): void => say({ progress: text })
    say({ result: await commands.run(command, args, { yes: yes === true, log, by: 'hermodctl', progress }) })
  } catch (error) {
    if (error instanceof CommandError) return say({ error: { code: error.code, message: error.message } })
    log.error({ err: error }, 'a command failed')
    say({ error: { code: 'failed', message: error instanceof Error ? error.message : String(error) } })
  }
}

function readRequest(line: string): ControlRequest {
  let request: unknown
  try {
    request = JSON.parse(line)
  } catch {
    throw new CommandError('usage', 'a request is one line of JSON')
  }
  const { command, args, yes } = (request ?? {}) as Partial<ControlRequest>
  const words = Array.isArray(args)
    ? args.every(arg => typeof arg === 'string')
    : typeof args === 'object' && args !== null
  if (typeof command !== 'string' || args === undefined || !words) {
    throw new CommandError(
      'usage',
      'a request is {"command": text, "args": [text, ...]}, or {..., "args": {name: value}}',
    )
  }
  return { command, args, yes: yes === true }
}
