import { type Element, NS } from '../../xml/index.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

/** Characters of an id that are kept as they are; the rest of a longer one counts as content. */
const ID = 64

/** What tells a sender's own messages apart: the id it gave (or none), whom it is for, and both with the content as one short text. */
export interface Fingerprint {
  readonly id: string
  readonly to: string
  readonly text: string
}

/**
 * Addressee, id and content of a message. A stamp of the time that a client adds when it
 * sends again (XEP-0203) does not count. Not for secrets: it only tells a sender's own messages apart.
 */
export function fingerprint(stanza: Stanza): Fingerprint {
  const id = stanza.id ?? ''
  const to = shortHash(stanza.to?.toString() ?? '')
  const hash = new Hash()
  hash.add(id)
  hash.add(stanza.type)
  for (const child of stanza.el.children) {
    if (typeof child === 'string') hash.add(child)
    else if (child.attrs['xmlns'] !== NS.DELAY) hash.element(child)
  }
  const kept = id.slice(0, ID).toWellFormed()
  return { id: kept, to, text: `${kept} ${to} ${hash.text()}` }
}

/** A fingerprint from its text. */
export function fingerprintOf(text: string): Fingerprint {
  const last = text.lastIndexOf(' ')
  const before = text.lastIndexOf(' ', last - 1)
  return { id: text.slice(0, before), to: text.slice(before + 1, last), text }
}

/** Of any text, for a key that stays short. */
export function shortHash(text: string): string {
  const hash = new Hash()
  hash.add(text)
  return hash.text()
}

/** Two 32-bit multiplicative hashes side by side: fast, and 53 bits and more of difference. */
class Hash {
  #a = 0xdeadbeef | 0
  #b = 0x41c6ce57 | 0

  add(text: string): void {
    let a = this.#a
    let b = this.#b
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i)
      a = Math.imul(a ^ c, 0x9e3779b1)
      b = Math.imul(b ^ c, 0x5f356495)
    }
    this.#a = Math.imul(a ^ 0x1f, 0x85ebca6b) ^ (b >>> 13)
    this.#b = Math.imul(b ^ 0x2f, 0xc2b2ae35) ^ (a >>> 15)
  }

  element(el: Element): void {
    this.add(el.name)
    for (const name in el.attrs) {
      this.add(name)
      this.add(el.attrs[name] ?? '')
    }
    for (const child of el.children) {
      if (typeof child === 'string') this.add(child)
      else this.element(child)
    }
    this.add('/')
  }

  text(): string {
    return (this.#a >>> 0).toString(36) + (this.#b >>> 0).toString(36)
  }
}
