import { DEVICE } from './devices.ts'
import { OBSERVE } from './hooks.ts'
import type { Host } from './host.ts'
import type { Session } from './session.ts'

/** What an operator wants to know of sessions, in the log: who came, came back, and went, why, after how long. */
export function logSessions(host: Host): void {
  const { hooks, log } = host
  const about = (session: Session) => ({ jid: session.jid.toString(), ip: session.info.ip })
  const seconds = (session: Session): number => Math.round((Date.now() - session.info.since) / 1000)
  const observe = { order: OBSERVE }
  hooks.add(
    'server',
    'session_opened',
    ({ session }) => {
      const { tls, mechanism } = session.info
      log.info({ ...about(session), tls, mechanism, device: session.slots.get(DEVICE) }, 'a session began')
    },
    observe,
  )
  hooks.add(
    'server',
    'session_resumed',
    ({ session }) => log.info({ ...about(session), seconds: seconds(session) }, 'a session was resumed'),
    observe,
  )
  hooks.add(
    'server',
    'session_detached',
    ({ session }) => log.debug(about(session), 'the connection of a session broke; it can be resumed'),
    observe,
  )
  hooks.add(
    'server',
    'session_closed',
    ({ session, reason }) => log.info({ ...about(session), reason, seconds: seconds(session) }, 'a session ended'),
    observe,
  )
}
