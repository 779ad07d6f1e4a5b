import { chmod, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { CommandError, type Commands } from '../commands.ts'
import type { Logger } from '../log.ts'
import { callCommand, describeCommand } from './call.ts'
import { type ControlAnswer, type ControlRequest, MAX_LINE } from './protocol.ts'

/** The Unix socket that hermodctl talks to. Whoever may open it may do everything: it is for the server's own user. */
export class ControlSocket {
  readonly #server: Server
  readonly #path: string
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, path: string) {
    this.#server = server
    this.#path = path
    server.on('connection', socket => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  /** Rejects if another server answers there. */
  static async open(
    path: string,
    commands: Commands,
    hosts: () => readonly string[],
    log: Logger,
  ): Promise<ControlSocket> {
    if (await answers(path)) throw new Error(`another hermod is running with this data folder (it answers at ${path})`)
    await rm(path, { force: true })
    const server = createServer(socket => serve(socket, commands, hosts, log))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(path, resolve)
    })
    await chmod(path, 0o600)
    return new ControlSocket(server, path)
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>(resolve => this.#server.close(() => resolve()))
    await rm(this.#path, { force: true })
  }
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

function serve(socket: Socket, commands: Commands, hosts: () => readonly string[], log: Logger): void {
  let text = ''
  const say = (answer: ControlAnswer): void => void socket.write(`${JSON.stringify(answer)}\n`)
  socket.setEncoding('utf8')
  socket.on('error', () => {})
  socket.on('data', (chunk: string) => {
    text += chunk
    if (text.length > MAX_LINE) return socket.destroy()
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = text.slice(0, end)
      text = text.slice(end + 1)
      void answer(line, commands, hosts(), log, say)
    }
  })
}

async function answer(
  line: string,
  commands: Commands,
  hosts: readonly string[],
  log: Logger,
  say: (answer: ControlAnswer) => void,
): Promise<void> {
  try {
    const { command, args } = readRequest(line)
    if (command === 'commands') {
      return say({
        result: commands.list().map(c => ({ command: JSON.stringify(describeCommand(c)) })),
        columns: ['command'],
      })
    }
    say(await callCommand(commands, hosts, command, args, { progress: text => say({ progress: text }) }))
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
  const { command, args } = request as Partial<ControlRequest>
  if (typeof command !== 'string' || !Array.isArray(args) || !args.every(arg => typeof arg === 'string')) {
    throw new CommandError('usage', 'a request is {"command": text, "args": [text, ...]}')
  }
  return { command, args }
}
