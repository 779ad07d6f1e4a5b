import { type Element, NS, xml } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { C2SSession } from './session.ts'
import type { C2SStream } from './stream.ts'

/** How long a resumption waits for what the client sent before to be safe (ms). */
const WAIT_SAFE = 5000

/** XEP-0198 5: the client wants its session back. */
export async function resumeSession(stream: C2SStream, el: Element): Promise<void> {
  const previd = el.attrs['previd'] ?? ''
  const text = el.attrs['h'] ?? ''
  const account = `${stream.user}@${stream.target!.host.name}`
  const session = await stream.server.sessions.find(previd)
  if (stream.state !== 'authenticated') return
  if (session === undefined || session.account.jid.toString() !== account) {
    const h = stream.server.sessions.handled(previd, account)
    return fail(stream, 'item-not-found', h)
  }
  if (!/^\d{1,10}$/.test(text)) return fail(stream, 'bad-request', undefined)
  detachFromOld(session)
  await session.inbound.allSafe(WAIT_SAFE)
  if (session.state === 'ended') return fail(stream, 'item-not-found', session.inbound.safe)
  if (stream.state !== 'authenticated') return
  detachFromOld(session) // another stream may have been faster meanwhile
  session.inbound.rewind()
  session.resume(stream, Number(text))
  stream.bound(session)
}

/** A half-open connection that the server still believes in gives way. */
function detachFromOld(session: C2SSession): void {
  const old = session.stream
  if (old === undefined) return
  old.fail(new StreamError('conflict', 'resumed on another connection'))
}

function fail(stream: C2SStream, condition: string, h: number | undefined): void {
  stream.sendElement(
    xml('failed', { xmlns: NS.SM, h: h === undefined ? undefined : String(h) }, xml(condition, { xmlns: NS.STANZAS })),
  )
}

/** XEP-0198 3: stream management begins on a bound stream. */
export async function enableManagement(session: C2SSession, stream: C2SStream, el: Element): Promise<void> {
  const wants = el.attrs['resume'] === 'true' || el.attrs['resume'] === '1'
  const { resumeTimeout } = session.settings
  const id = wants && resumeTimeout > 0 ? stream.server.ids.random() : undefined
  await session.inbound.start()
  if (session.stream !== stream) return // the client is gone
  session.enable(id)
  stream.server.sessions.add(session)
  const max = id === undefined ? undefined : String(Math.floor(resumeTimeout / 1000))
  stream.sendElement(xml('enabled', { xmlns: NS.SM, id, resume: id === undefined ? undefined : 'true', max }))
}
