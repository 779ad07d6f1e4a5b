import { type HookEvent, OBSERVE } from '../../core/hooks.ts'
import type { ModuleContext } from '../../core/module.ts'
import type { Session } from '../../core/session.ts'
import { parseElement } from '../../xml/index.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { type Notice, noticeOf } from './notice.ts'
import type { PushOptions } from './options.ts'
import type { Registrations } from './registrations.ts'

/** What is said in a room is not queued: it waits in the session whose connection broke, and its device is told. */
export function hearRooms(ctx: ModuleContext<PushOptions>, registrations: Registrations): void {
  const parked = new Set<Session>()
  // Registered only while it has something to do: without handlers of this hook the server's own way is shorter.
  let unhook: (() => void) | undefined

  const tell = (session: Session, notice: Notice | undefined): void => {
    if (notice !== undefined) registrations.watch(session.account)?.passed(notice, session)
  }
  const receive = ({ session, stanza, entry }: HookEvent<'user_receive_packet'>): void => {
    if (entry === undefined && parked.has(session)) tell(session, noticeIn(stanza))
  }
  const park = (session: Session): void => {
    if (!registrations.uses(session)) return
    parked.add(session)
    unhook ??= ctx.host.hooks.add('mod_push', 'user_receive_packet', receive, { order: OBSERVE })
  }
  const unpark = (session: Session): void => {
    if (!parked.delete(session) || parked.size > 0) return
    unhook?.()
    unhook = undefined
  }

  for (const session of ctx.host.sessions()) if (!session.connected) park(session)
  ctx.hook('session_restored', ({ session }) => park(session))
  ctx.hook('session_detached', ({ session }) => {
    park(session)
    if (parked.has(session)) tell(session, missed(session))
  })
  ctx.hook('session_resumed', ({ session }) => unpark(session))
  ctx.hook('session_closed', ({ session }) => unpark(session))
  ctx.onStop(() => unhook?.())
}

/** The newest that a client had not acknowledged when its connection broke. */
function missed(session: Session): Notice | undefined {
  let last: Notice | undefined
  for (const text of session.unacknowledged()) {
    if (text.startsWith('<message')) last = noticeIn(Stanza.of(parseElement(text))) ?? last
  }
  return last
}

function noticeIn(stanza: Stanza): Notice | undefined {
  return stanza.kind === 'message' && stanza.type === 'groupchat' ? noticeOf(stanza, undefined) : undefined
}
