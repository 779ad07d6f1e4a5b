import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import type { CommandInfo, ControlAnswer } from '../core/control/protocol.ts'
import { Exit, NOT_RUNNING } from './exit.ts'

export type Answer = Exclude<ControlAnswer, { progress: string }>

/** The way to a server. Every request has a connection of its own. */
export class ControlClient {
  readonly #path: string
  readonly #onProgress: (text: string) => void
  readonly #howToStart: string

  constructor(path: string, howToStart: string, onProgress: (text: string) => void) {
    this.#path = path
    this.#howToStart = howToStart
    this.#onProgress = onProgress
  }

  /** Rejects with {@link Exit} where no server answers. */
  request(command: string, args: readonly string[], yes = false): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.#path)
      let connected = false
      socket.on('connect', () => {
        connected = true
        socket.write(`${JSON.stringify({ command, args, yes })}\n`)
      })
      socket.on('error', error => {
        if (!connected) reject(new Exit(NOT_RUNNING, unreachable(error, this.#path, this.#howToStart)))
      })
      socket.on('close', () => reject(new Exit(1, 'the server went away before it answered')))
      const lines = createInterface({ input: socket })
      lines.on('error', () => {}) // the socket's own: handled above
      lines.on('line', line => {
        const answer = JSON.parse(line) as ControlAnswer
        if ('progress' in answer) return this.#onProgress(answer.progress)
        socket.end()
        resolve(answer)
      })
    })
  }

  async commands(): Promise<readonly CommandInfo[]> {
    const answer = await this.request('commands', [])
    if (!('commands' in answer)) throw new Exit(1, 'the server speaks another version of the control protocol')
    return answer.commands
  }
}

function unreachable(error: NodeJS.ErrnoException, path: string, howToStart: string): string {
  if (error.code === 'EACCES') return `this user may not open ${path}: run hermodctl as the user that hermod runs as`
  return `no server answers at ${path}. To start one: ${howToStart}`
}
