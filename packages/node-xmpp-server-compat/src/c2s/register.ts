import { Jid, xml } from 'hermod/engine'
import { ask } from '../ask.ts'
import type { ElementLike, Stanza } from '../elements.ts'
import { JID } from '../jid.ts'
import { errorOf, type Refusal } from '../refusal.ts'
import type { Session } from './session.ts'

const REGISTER = 'jabber:iq:register'

/** What the application is asked for. */
export interface Registration {
  jid: JID
  username: string
  password: string
  client: Session
}

/** XEP-0077 8: where the application listens for it. */
export function offersRegistration(session: Session) {
  return session.listenerCount('register') > 0 && xml('register', { xmlns: 'http://jabber.org/features/iq-register' })
}

/** Whether a client asks for an account of this server; other services have theirs. */
export function isRegistration(session: Session, stanza: Stanza): boolean {
  if (stanza.name !== 'iq' || (stanza.type !== 'get' && stanza.type !== 'set')) return false
  if (stanza.getChild('query', REGISTER) === undefined) return false
  return stanza.to === undefined || Jid.parse(stanza.to)?.toString() === session.serverdomain
}

/** Asks the application for an account (XEP-0077 3.1), before the login. */
export async function register(session: Session, iq: Stanza): Promise<void> {
  const answer = (type: string, payload?: ElementLike): void => {
    session.send(xml('iq', { type, id: iq.id }, payload as never))
  }
  if (session.listenerCount('register') === 0) return answer('error', errorOf({ condition: 'service-unavailable' }))
  if (iq.type === 'get') {
    const instructions = xml('instructions', {}, 'Choose a username and a password.')
    return answer('result', xml('query', { xmlns: REGISTER }, instructions, xml('username'), xml('password')))
  }
  const query = iq.getChild('query', REGISTER)!
  const username = query.getChildText('username')
  const password = query.getChildText('password')
  const jid = username ? addressOf(username, session.serverdomain!) : undefined
  if (jid === undefined || !username || !password) return answer('error', errorOf({ condition: 'not-acceptable' }))
  const [error] = (await ask(session, 'register', { jid, username, password, client: session }))!
  // Its examples have always said `true` where they meant yes.
  if (!error || error === true) {
    answer('result')
    session.emit('registration-success', jid)
  } else {
    answer('error', errorOf(error as Refusal))
    session.emit('registration-failure', jid)
  }
}

/** The address of a user; undefined for a name that nobody can have. */
export function addressOf(username: string, domain: string): JID | undefined {
  try {
    const jid = new JID(username, domain)
    return Jid.parse(jid.toString()) === undefined ? undefined : jid
  } catch {
    return undefined
  }
}
