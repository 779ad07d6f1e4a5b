import { type Element, NS, xml } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { BindStream } from './bind.ts'
import type { Ended } from './inbound.ts'
import { refuseRevoked } from './login.ts'
import type { C2SSession } from './session.ts'

/** How long a resumption waits for what the client sent before to be safe (ms). */
const WAIT_SAFE = 5000

/** A stream on which a client may have its session back. */
export interface ResumingStream extends BindStream {
  /** The client wanted a session back that is gone, and was told how far that was. */
  gone: Ended | undefined
}

/** XEP-0198 5: the client wants its session back. */
export async function resumeSession(stream: ResumingStream, el: Element): Promise<void> {
  const failed = await takeUp(stream, el, (_session, resumed) => stream.sendElement(resumed))
  if (failed !== undefined) stream.sendElement(failed)
}

/**
 * Gives the session that `<resume/>` asks for to the stream. `announce` sends `<resumed/>`, in the same turn, before what the
 * client has not seen is sent again. The answer is `<failed/>`, or nothing if there is nothing left to do: the session was
 * taken up, or the client is gone.
 */
export async function takeUp(
  stream: ResumingStream,
  el: Element,
  announce: (session: C2SSession, resumed: Element) => void,
): Promise<Element | undefined> {
  const previd = el.attrs['previd'] ?? ''
  const text = el.attrs['h'] ?? ''
  const account = `${stream.user}@${stream.target!.host.name}`
  const session = await stream.server.sessions.find(previd)
  if (stream.state !== 'authenticated') return undefined
  if (session === undefined || session.account.jid.toString() !== account) {
    return gone(stream, stream.server.sessions.endOf(previd, account))
  }
  if (!/^\d{1,10}$/.test(text)) return failed('bad-request', undefined)
  detachFromOld(session)
  await session.inbound.allSafe(WAIT_SAFE)
  if (session.state === 'ended') return gone(stream, stream.server.sessions.endOf(previd, account))
  if (stream.state !== 'authenticated') return undefined
  refuseRevoked(stream)
  detachFromOld(session) // another stream may have been faster meanwhile
  session.inbound.rewind()
  session.resume(stream.xmpp, Number(text), resumed => announce(session, resumed))
  // Of this connection from now on: where it comes from, and whether it is encrypted.
  Object.assign(session.info, stream.info, { since: session.info.since })
  stream.bound(session)
  return undefined
}

/** A half-open connection that the server still believes in gives way. */
function detachFromOld(session: C2SSession): void {
  const old = session.stream
  if (old === undefined) return
  old.fail(new StreamError('conflict', 'resumed on another connection'))
}

/** The client learns how far a session was that is gone, if that is known, and sends the rest again. */
function gone(stream: ResumingStream, end: Ended | undefined): Element {
  stream.gone = end
  // Whether it reads this is seen when it goes on.
  if (end !== undefined) end.run.told = Math.max(end.run.told, end.n)
  return failed('item-not-found', end?.h)
}

function failed(condition: string, h: number | undefined): Element {
  const attrs = { xmlns: NS.SM, h: h === undefined ? undefined : String(h) }
  return xml('failed', attrs, xml(condition, { xmlns: NS.STANZAS }))
}
