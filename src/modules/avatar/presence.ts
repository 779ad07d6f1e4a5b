import type { Account } from '../../core/account.ts'
import { changePresence } from '../../core/availability.ts'
import { type Session, Slot } from '../../core/session.ts'
import { type Element, findChild, NS, textOf, xml } from '../../xml/index.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

/** The client has said that it shows no picture (XEP-0153 4.1): nobody says otherwise for it. */
export const SHOWS_NONE = new Slot<true>('mod_avatar')

/**
 * Presence of an available client as it goes out (XEP-0398 4): with the hash of the avatar, which is empty where the user took
 * it away and undefined where there never was one; unless the client shows none.
 */
export function withHash(session: Session, stanza: Stanza, hash: string | undefined): Stanza {
  const photo = findChild(findChild(stanza.el, 'x', NS.VCARD_UPDATE) ?? stanza.el, 'photo', NS.VCARD_UPDATE)
  const said = photo === undefined ? undefined : textOf(photo).trim()
  if (stanza.to === undefined) {
    if (said === '') session.slots.set(SHOWS_NONE, true)
    else session.slots.delete(SHOWS_NONE)
  }
  if (hash === undefined || said === '' || said === hash) return stanza
  return stanza.changed(el => putHash(el, hash))
}

/** What was said before was put there for the client, or is out of date. */
function putHash(el: Element, hash: string): void {
  el.children = el.children.filter(child => typeof child === 'string' || child.attrs['xmlns'] !== NS.VCARD_UPDATE)
  el.append(xml('x', { xmlns: NS.VCARD_UPDATE }, xml('photo', {}, hash === '' ? undefined : hash)))
}

/** The present presences of an account go out again, with its new avatar. */
export function tellAgain(account: Account, hash: string): void {
  for (const session of account.available()) {
    if (session.slots.get(SHOWS_NONE) !== true) changePresence(session, el => putHash(el, hash))
  }
}
