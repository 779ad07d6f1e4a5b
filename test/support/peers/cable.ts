/** What lies between a server and those who connect to it: it can be cut, or let nothing through. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

export class Cable {
  readonly #listeners: Server[] = []
  readonly #sockets = new Set<Socket>()
  /** What has not come through since it was held: done in order once it is released. */
  #held: (() => void)[] | undefined

  /** From an address of its own to the same ports of another. */
  static async lay(from: string, to: string, ports: readonly number[]): Promise<Cable> {
    const cable = new Cable()
    for (const port of ports) {
      const listener = createServer(near => cable.#join(near, connect({ host: to, port })))
      await once(listener.listen(port, from), 'listening')
      cable.#listeners.push(listener)
    }
    return cable
  }

  /** Both ends of every connection are reset. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** From now on nothing comes through, and nobody is told. */
  hold(): void {
    this.#held ??= []
  }

  release(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const act of held) act()
  }

  close(): void {
    for (const listener of this.#listeners) listener.close()
    this.cut()
  }

  #join(near: Socket, far: Socket): void {
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one)
      one.setNoDelay(true)
      one.on('error', () => {})
      one.on('data', chunk => this.#pass(() => other.write(chunk)))
      one.on('close', () => {
        this.#sockets.delete(one)
        this.#pass(() => other.destroySoon())
      })
    }
  }

  #pass(act: () => void): void {
    if (this.#held === undefined) act()
    else this.#held.push(act)
  }
}
