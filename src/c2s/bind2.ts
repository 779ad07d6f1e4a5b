import { createHmac } from 'node:crypto'
import type { Account } from '../core/account.ts'
import { DEVICE } from '../core/devices.ts'
import type { Host } from '../core/host.ts'
import type { Session } from '../core/session.ts'
import { isTrue } from '../util/text.ts'
import { childText, type Element, findChild, NS, xml } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { prepResource } from '../xmpp/jid.ts'
import { type BindStream, makeRoom, newSession } from './bind.ts'
import { refuseRevoked } from './login.ts'
import type { C2SSession } from './session.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** What clients may ask for in `<bind/>` is about to be offered; handlers add their namespaces (XEP-0386 3.1). */
    bind2_features: Sync<{ features: string[] }>
    /**
     * A client asks for a resource, and has no session yet: handlers put into `bound` what they first have to look up, such
     * as the state of the archive. Nothing that comes after it is missing from what the session will get.
     */
    bind2_request: Async<{ account: Account; request: Element; bound: Element }>
    /**
     * The session is there and nothing has been sent to it yet: handlers do what `request` asks for and put their answers
     * into `bound`.
     */
    bind2_bound: Sync<{ session: Session; request: Element; bound: Element }>
  }
}

/** What can be asked for along with a resource. */
export function inlineFeatures(host: Host): string[] {
  const features: string[] = [NS.SM]
  host.hooks.runSync('bind2_features', { features })
  return features
}

/**
 * XEP-0386 3.2: gives the stream a session. `announce` is called in the same turn as the session comes to be, before
 * anything is sent to it.
 *
 * Queued messages are not cleared, as the XEP would have it: they are what the promise is kept with, and a client that has
 * one from the archive already knows it by its stanza-id (docs/decisions/007).
 */
export async function inlineBind(
  stream: BindStream,
  request: Element,
  announce: (session: Session, bound: Element) => void,
): Promise<void> {
  const { host } = stream.target!
  const tag = (childText(request, 'tag') ?? '').trim()
  const enable = findChild(request, 'enable', NS.SM)
  for (;;) {
    const account = await host.account(stream.user!)
    if (account === undefined) throw new StreamError('not-authorized', 'the account is gone')
    const bound = xml('bound', { xmlns: NS.BIND2 })
    await host.hooks.run('bind2_request', { account, request, bound })
    const session = newSession(stream, account, resourceOf(stream, account, tag))
    const managed = enable !== undefined && (await prepared(session))
    if (stream.state !== 'authenticated') return
    refuseRevoked(stream)
    if (host.accounts.get(account.user) !== account) continue // it left memory meanwhile, or was removed

    endPredecessors(account, session)
    makeRoom(stream, account)
    account.sessions.set(session.jid.resource, session)
    stream.bound(session)
    if (managed) bound.append(session.enable(isTrue(enable.attrs['resume'])))
    else if (enable !== undefined) {
      bound.append(xml('failed', { xmlns: NS.SM }, xml('internal-server-error', { xmlns: NS.STANZAS })))
    }
    host.hooks.notify('bind2_bound', { session, request, bound })
    announce(session, bound)
    host.hooks.notify('session_opened', { session })
    return
  }
}

/**
 * `TAG/ID`. A device has the same id each time, so that those who wrote to it still reach it; it follows from a secret of
 * ours, so that nobody else can tell it, or tell from it what the device is called.
 */
function resourceOf(stream: BindStream, account: Account, tag: string): string {
  const { device, server, target } = stream
  const named = (id: string): string => prepResource(tag === '' ? id : `${tag}/${id}`) ?? id
  const stable = device && named(resourceId(target!.secret, account.user, device.id, tag))
  const there = stable === undefined ? undefined : account.sessions.get(stable)
  // Somebody may have asked for that very name by the old way of binding; then it is as the operator wants it.
  const taken = there !== undefined && there.slots.get(DEVICE) !== device!.id
  const polite = taken && ['closenew', 'setresource'].includes(target!.settings.resourceConflict)
  return stable === undefined || polite ? named(server.ids.random()) : stable
}

function resourceId(secret: Buffer, user: string, device: string, tag: string): string {
  const hmac = createHmac('sha256', secret).update(`resource\0${user}\0${device}\0${tag}`)
  return hmac.digest().subarray(0, 15).toString('base64url')
}

/** XEP-0386 3.2: earlier sessions of the same client end. What they had not acknowledged goes to this one. */
function endPredecessors(account: Account, session: Session): void {
  const device = session.slots.get(DEVICE)
  const error = () => new StreamError('conflict', 'replaced by a new connection')
  account.sessions.get(session.jid.resource)?.end(error())
  if (device === undefined) return
  for (const old of [...account.sessions.values()]) if (old.slots.get(DEVICE) === device) old.end(error())
}

async function prepared(session: C2SSession): Promise<boolean> {
  try {
    await session.inbound.start()
    return true
  } catch (error) {
    session.account.host.log.error({ err: error, jid: session.jid.toString() }, 'stream management could not begin')
    return false
  }
}
