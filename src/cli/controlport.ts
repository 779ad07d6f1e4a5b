import path from 'node:path'
import type { Config } from '../config/core.ts'
import { blaming } from '../config/diagnostics.ts'
import { SOCKET_NAME } from '../core/control/protocol.ts'
import { type ControlOptions, ControlSocket } from '../core/control/socket.ts'
import type { Prepared } from '../reload.ts'
import { explainFile } from './explain.ts'

/** Where hermodctl finds a server that runs with this configuration. */
export function controlPath(config: Config): string {
  return config.ctl_socket ?? path.join(config.data, SOCKET_NAME)
}

/** The control socket of a server, which may move while it runs. */
export class ControlPort {
  #path = ''
  #socket: ControlSocket | undefined
  #options: Omit<ControlOptions, 'path'> | undefined

  async open(config: Config, options: Omit<ControlOptions, 'path'>): Promise<void> {
    this.#path = controlPath(config)
    this.#socket = await listen(config, options)
    this.#options = options
  }

  get isOpen(): boolean {
    return this.#socket !== undefined
  }

  /** Listens at the new place too; only one of the two is left in the end. */
  async prepare(config: Config): Promise<Prepared> {
    const wanted = controlPath(config)
    const before = this.#socket
    if (wanted === this.#path || before === undefined) return { apply() {}, undo() {} }
    const socket = await listen(config, this.#options!)
    return {
      apply: () => {
        this.#path = wanted
        this.#socket = socket
        before.retire()
      },
      undo: () => socket.close(),
    }
  }

  async close(): Promise<void> {
    await this.#socket?.close()
    this.#socket = undefined
  }
}

function listen(config: Config, options: Omit<ControlOptions, 'path'>): Promise<ControlSocket> {
  const at = controlPath(config)
  const open = () =>
    ControlSocket.open({ ...options, path: at }).catch((error: NodeJS.ErrnoException) => {
      throw explainFile(at, error.code) ?? error
    })
  return config.ctl_socket === undefined ? open() : blaming(['ctl_socket'], open)
}
