import type { Account } from '../../core/account.ts'
import { Slot } from '../../core/session.ts'
import { type Element, findChild, findChildren, NS, textOf, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'

export type Default = 'always' | 'roster' | 'never'

/** What a user wants archived (XEP-0441); addresses are texts, bare or full. */
export interface Prefs {
  readonly default: Default
  readonly always: readonly string[]
  readonly never: readonly string[]
}

/** Of accounts that are loaded. */
export const PREFS = new Slot<Prefs>('mam prefs')

const MAX_ADDRESSES = 500

export function keepPrefs(account: Account, prefs: Prefs): void {
  account.grew(sizeOf(prefs) - sizeOf(account.slots.get(PREFS)))
  account.slots.set(PREFS, prefs)
}

function sizeOf(prefs: Prefs | undefined): number {
  return prefs === undefined ? 0 : prefs.always.concat(prefs.never).join('').length
}

/** Whether a message from or to `peer` is archived. XEP-0441 2: the lists decide before the default does. */
export function archives(prefs: Prefs, account: Account, peer: Jid, inRoster: (peer: Jid) => boolean): boolean {
  if (listed(prefs.always, peer)) return true
  if (listed(prefs.never, peer)) return false
  if (prefs.default === 'roster') return account.jid.equals(peer.bare) || inRoster(peer)
  return prefs.default === 'always'
}

function listed(list: readonly string[], jid: Jid): boolean {
  return list.length > 0 && (list.includes(jid.bare.toString()) || list.includes(jid.toString()))
}

export function prefsElement(prefs: Prefs): Element {
  const list = (name: string, jids: readonly string[]): Element =>
    xml(name, {}, ...jids.map(jid => xml('jid', {}, jid)))
  return xml(
    'prefs',
    { xmlns: NS.MAM, default: prefs.default },
    list('always', prefs.always),
    list('never', prefs.never),
  )
}

/** @throws StanzaError `bad-request`, `jid-malformed`, or `policy-violation` for a list that is too long */
export function readPrefs(el: Element): Prefs {
  const given = el.attrs['default']
  if (given !== 'always' && given !== 'roster' && given !== 'never') {
    throw new StanzaError('bad-request', 'default is always, roster or never')
  }
  return { default: given, always: addresses(el, 'always'), never: addresses(el, 'never') }
}

function addresses(el: Element, name: string): string[] {
  const list = findChild(el, name, NS.MAM)
  if (list === undefined) return []
  const jids = findChildren(list, 'jid')
  if (jids.length > MAX_ADDRESSES) {
    throw new StanzaError('policy-violation', `at most ${MAX_ADDRESSES} addresses in a list`)
  }
  return jids.map(child => {
    const jid = Jid.parse(textOf(child).trim())
    if (jid === undefined) throw new StanzaError('jid-malformed')
    return jid.toString()
  })
}
