import type { DeviceLogin } from '../auth/devices.ts'
import type { Account } from '../core/account.ts'
import { DEVICE } from '../core/devices.ts'
import type { Host } from '../core/host.ts'
import { CHOSEN } from '../core/queue/devicename.ts'
import type { ConnectionInfo } from '../core/session.ts'
import type { XmppStream } from '../stream/stream.ts'
import { childText, type Element, NS, xml } from '../xml/index.ts'
import { StanzaError, StreamError } from '../xmpp/errors.ts'
import { prepResource } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { refuseRevoked } from './login.ts'
import type { C2SHost, C2SServer, StreamState } from './server.ts'
import { C2SSession } from './session.ts'

/** A stream that is to have a session. */
export interface BindStream {
  readonly xmpp: XmppStream
  readonly server: C2SServer
  readonly state: StreamState
  readonly target: C2SHost | undefined
  readonly user: string | undefined
  readonly device: DeviceLogin | undefined
  readonly info: ConnectionInfo
  sendElement(el: Element): void
  /** A session has been bound to, or resumed on, this stream. */
  bound(session: C2SSession): void
}

/** RFC 6120 7.6, 7.7: gives the stream a session with the resource that the client wants, or one of our making. */
export async function bindResource(stream: BindStream, iq: Stanza, payload: Element): Promise<void> {
  const { host } = stream.target!
  const account = await host.account(stream.user!)
  if (account === undefined) throw new StreamError('not-authorized', 'the account is gone')
  if (stream.state !== 'authenticated') return
  refuseRevoked(stream)
  let resource: string
  try {
    resource = chooseResource(stream, account, childText(payload, 'resource') ?? '')
  } catch (error) {
    if (!(error instanceof StanzaError)) throw error
    const answer = iq.error(error)!
    delete answer.el.attrs['to']
    return stream.sendElement(answer.el)
  }
  makeRoom(stream, account)
  const session = newSession(stream, account, resource)
  if (resource === prepResource(childText(payload, 'resource') ?? '')) session.slots.set(CHOSEN, true)
  const { jid } = session
  account.sessions.set(resource, session)
  stream.bound(session)
  const answer = xml('bind', { xmlns: NS.BIND }, xml('jid', {}, jid.toString()))
  stream.sendElement(xml('iq', { type: 'result', id: iq.id }, answer))
  host.hooks.notify('session_opened', { session })
}

/**
 * Clients of RFC 3921 ask for a session too, though features.ts offers it as optional, and take a refusal for a failed login:
 * it is there since bind.
 */
export function grantSessions(host: Host): void {
  host.iq.add('c2s', 'own', 'set', NS.SESSION, 'session', () => {}, { atHost: true })
}

/** A session for the stream, not yet among those of the account. */
export function newSession(stream: BindStream, account: Account, resource: string): C2SSession {
  const { server, device } = stream
  const jid = account.jid.withResource(resource)
  const session = new C2SSession(account, jid, stream.xmpp, stream.info, stream.target!.settings, server)
  if (device !== undefined) session.slots.set(DEVICE, device.id)
  return session
}

/** RFC 6120 7.7.2: what happens to a resource in use is the operator's choice. */
function chooseResource(stream: BindStream, account: Account, wanted: string): string {
  const random = () => stream.server.ids.random()
  if (wanted === '') return random()
  const resource = prepResource(wanted)
  if (resource === undefined) throw new StanzaError('bad-request', 'that is no resourcepart')
  const there = account.sessions.get(resource)
  if (there === undefined) return resource
  const policy = stream.target!.settings.resourceConflict
  if (policy === 'setresource') return random()
  if (policy === 'closenew') throw new StanzaError('conflict', 'the resource is in use')
  there.end(new StreamError('conflict', 'replaced by a new connection'))
  return resource
}

/** One session more than an account may have ends the oldest, of those that wait for their client if there are any. */
export function makeRoom(stream: BindStream, account: Account): void {
  const { maxUserSessions } = stream.target!.settings
  while (account.sessions.size >= maxUserSessions) {
    const sessions = [...account.sessions.values()]
    const oldest = sessions.find(session => !session.connected) ?? sessions[0]!
    oldest.end(new StreamError('conflict', 'too many sessions of this account'))
  }
}
