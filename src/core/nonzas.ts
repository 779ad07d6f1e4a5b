import type { Element } from '../xml/index.ts'
import type { Session } from './session.ts'

type NonzaHandler = (session: Session, el: Element) => void

/** Elements on a bound stream that are no stanzas (XEP-0360), and who takes them. */
export class Nonzas {
  readonly #handlers = new Map<string, NonzaHandler>()

  add(ns: string, name: string, handler: NonzaHandler): () => void {
    const key = `${name} ${ns}`
    if (this.#handlers.has(key)) throw new Error(`<${name} xmlns='${ns}'/> is handled already`)
    this.#handlers.set(key, handler)
    return () => this.#handlers.delete(key)
  }

  find(ns: string, name: string): NonzaHandler | undefined {
    return this.#handlers.get(`${name} ${ns}`)
  }
}
