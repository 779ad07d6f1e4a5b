import { StanzaError } from '../xmpp/errors.ts'
import type { Node } from './node.ts'

/** Ms that who is what to a node stays in memory at least after it was used: whoever uses it is done by then. */
const IDLE = 10_000

/**
 * Which nodes of a host have in memory who is what to them. Beyond `most` bytes those that nobody uses forget it; where all are
 * in use, twice as much is the end.
 */
export class EntityCache {
  readonly #most: number
  readonly #now: () => number
  /** With the time of the last use, in the order of that. */
  readonly #used = new Map<Node, number>()
  #bytes = 0

  constructor(most: number, now: () => number) {
    this.#most = most
    this.#now = now
  }

  get bytes(): number {
    return this.#bytes
  }

  /** A node that has something in memory is used. */
  used(node: Node): void {
    if (node.entityBytes === 0) return
    if (!this.#used.delete(node)) this.#bytes += node.entityBytes
    this.#used.set(node, this.#now())
  }

  /** Runs a change of who is what to the node. */
  changed(node: Node, change: () => void): void {
    const counted = this.#used.has(node)
    const before = node.entityBytes
    change()
    if (counted) this.#bytes += node.entityBytes - before
    else if (node.entities === 'loaded') this.used(node)
  }

  forget(node: Node): void {
    if (this.#used.delete(node)) this.#bytes -= node.entityBytes
    node.forgetEntities()
  }

  /** Before another node is read. Throws StanzaError where there is no room now. */
  makeRoom(): void {
    const before = this.#now() - IDLE
    for (const [node, at] of this.#used) {
      if (this.#bytes <= this.#most) return
      if (at > before) break
      this.forget(node)
    }
    if (this.#bytes <= 2 * this.#most) return
    throw new StanzaError('resource-constraint', 'too many nodes are in use at a time; try again later', {
      type: 'wait',
    })
  }
}
