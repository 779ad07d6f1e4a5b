import { DEVICE } from './devices.ts'
import { type Handler, type HookName, OBSERVE } from './hooks.ts'
import type { Host } from './host.ts'
import type { Session } from './session.ts'

/** What an operator wants to know of sessions, in the log: who came, came back, and went, why, after how long. */
export function logSessions(host: Host): void {
  const { hooks, log } = host
  const about = (session: Session) => ({ jid: session.jid.toString(), ip: session.info.ip })
  const seconds = (session: Session): number => Math.round((Date.now() - session.info.since) / 1000)
  const on = <N extends HookName>(name: N, handler: Handler<N>) =>
    hooks.add('server', name, handler, { order: OBSERVE })
  on('session_opened', ({ session }) => {
    const { tls, mechanism } = session.info
    log.info({ ...about(session), tls, mechanism, device: session.slots.get(DEVICE) }, 'a session began')
  })
  on('session_resumed', ({ session }) => {
    log.info({ ...about(session), seconds: seconds(session) }, 'a session was resumed')
  })
  on('session_detached', ({ session }) => {
    log.debug(about(session), 'the connection of a session broke; it can be resumed')
  })
  on('session_closed', ({ session, reason }) => {
    log.info({ ...about(session), reason, seconds: seconds(session) }, 'a session ended')
  })
}
