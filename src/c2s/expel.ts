import type { AccountChange } from '../auth/chain.ts'
import { sessionsOf } from '../core/directory.ts'
import type { Session } from '../core/session.ts'
import { StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import type { C2SHost } from './server.ts'

const WORDS: Record<AccountChange, string> = {
  password: 'the password was changed',
  disabled: 'the account was disabled',
  removed: 'the account was removed',
}

/** What let its clients in is no longer so: their sessions end (but the one given), and streams on their way to one. */
export function expel({ host, entering }: C2SHost, user: string, change: AccountChange, but?: Session): void {
  const error = (): StreamError => new StreamError('not-authorized', WORDS[change])
  for (const session of [...sessionsOf(host.router, Jid.of(user, host.name))]) {
    if (session !== but) session.end(error())
  }
  for (const [stream, whose] of [...entering]) if (whose === user) stream.fail(error())
}
