import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { type Element, NS, serialize, xml } from '../xml/index.ts'
import type { StanzaCondition } from '../xmpp/errors.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import type { Pair } from './pair.ts'

/** Keys that only who knows the secret can make (XEP-0185), so that none has to be remembered. */
export class DialbackKeys {
  /** RFC 2104 wants a key of the length of a hash; XEP-0185 2 has it in hexadecimal. */
  readonly #secret: string

  constructor(secret: string) {
    this.#secret = createHash('sha256').update(secret).digest('hex')
  }

  /** By which the other server finds that it is `local` who wants to send to it. @param id of the stream, by the receiving end */
  keyFor({ local, remote }: Pair, id: string): string {
    return createHmac('sha256', this.#secret).update(`${remote} ${local} ${id}`).digest('hex')
  }

  matches(pair: Pair, id: string, key: string): boolean {
    const [is, wanted] = [Buffer.from(key), Buffer.from(this.keyFor(pair, id))]
    return is.length === wanted.length && timingSafeEqual(is, wanted)
  }
}

/** What is told of a key, or of a pair: XEP-0220 2.1 and 2.4. */
export type Verdict = 'valid' | 'invalid' | StanzaCondition

/** `db:result`, with the key: asks for a pair (XEP-0220 2.1.1). */
export function requestFor({ local, remote }: Pair, key: string): string {
  return serialize(dialback('result', { from: local, to: remote }, key))
}

/** `db:verify`, with the key: asks the server of the remote domain whether it is its own (XEP-0220 2.1.2). */
export function verificationOf({ local, remote }: Pair, id: string, key: string): string {
  return serialize(dialback('verify', { from: local, to: remote, id }, key))
}

/** The answer to either, from our side. */
export function answerTo(name: 'result' | 'verify', { local, remote }: Pair, id: string | undefined, verdict: Verdict) {
  const isError = verdict !== 'valid' && verdict !== 'invalid'
  const attrs = { from: local, to: remote, id, type: isError ? 'error' : verdict }
  return serialize(dialback(name, attrs, isError ? new StanzaError(verdict).toElement() : undefined))
}

function dialback(name: string, attrs: Record<string, string | undefined>, child: Element | string | undefined) {
  return xml(`db:${name}`, { ...attrs, 'xmlns:db': NS.DIALBACK }, child)
}

/** The domains that an element of dialback names, as the peer sees them: from it, to us. Undefined where they are none. */
export function pairOf(el: Element): Pair | undefined {
  const remote = domainOf(el.attrs['from'])
  const local = domainOf(el.attrs['to'])
  return remote === undefined || local === undefined ? undefined : { local, remote }
}

function domainOf(text: string | undefined): string | undefined {
  const jid = text === undefined ? undefined : Jid.parse(text)
  return jid === undefined || jid.local !== '' || jid.resource !== '' ? undefined : jid.domain
}

/** The condition in an answer of type `error` (XEP-0220 2.4). */
export function conditionOf(el: Element): string {
  for (const error of el.children) {
    if (typeof error === 'string' || error.name !== 'error') continue
    for (const child of error.children) {
      if (typeof child !== 'string' && child.attrs['xmlns'] === NS.STANZAS && child.name !== 'text') return child.name
    }
  }
  return 'undefined-condition'
}
