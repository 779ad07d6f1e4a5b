import { childText } from '../../../xml/index.ts'
import { StreamError } from '../../../xmpp/errors.ts'
import { sessionOf } from '../../directory.ts'
import type { Session } from '../../session.ts'
import { arg, type Columns, type Command, CommandError, defineCommand } from '../command.ts'
import type { ServerControl } from './control.ts'

const SESSION = {
  jid: 'jid',
  ip: 'text',
  tls: 'text',
  mechanism: 'text',
  since: 'time',
  state: 'text',
  priority: 'int?',
  show: 'text',
} as const satisfies Columns

export function sessionCommands(server: ServerControl): Command[] {
  return [
    defineCommand({
      name: 'connected_users',
      summary: 'Lists the sessions, connected or waiting to be resumed.',
      args: { host: arg.host('Only of this host', { optional: true }) },
      returns: SESSION,
      run: ({ host }) =>
        (host === undefined ? server.hosts : [host]).flatMap(host => [...host.sessions()].map(describe)),
    }),
    defineCommand({
      name: 'user_resources',
      summary: 'Lists the sessions of an account.',
      args: { account: arg.account('The account') },
      returns: SESSION,
      run: ({ account }) => [...account.sessions.values()].map(describe),
    }),
    defineCommand({
      name: 'kick_user',
      summary: 'Ends all sessions of an account. Its messages stay queued.',
      args: { account: arg.account('The account'), reason: arg.text('Told to the clients', { optional: true }) },
      returns: 'int',
      run({ account, reason }) {
        const sessions = [...account.sessions.values()]
        for (const session of sessions) session.end(kicked(reason))
        return sessions.length
      },
    }),
    defineCommand({
      name: 'kick_session',
      summary: 'Ends one session.',
      args: {
        jid: arg.jid('The full address of the session, user@host/resource'),
        reason: arg.text('Told to the client', { optional: true }),
      },
      run({ jid, reason }) {
        const session = sessionOf(server.router, jid)
        if (session === undefined) {
          throw new CommandError('not_found', `there is no session ${jid}; see user_resources ${jid.bare}`)
        }
        session.end(kicked(reason))
        return `${jid} is gone`
      },
    }),
  ]
}

function kicked(reason: string | undefined): StreamError {
  return new StreamError('policy-violation', reason ?? 'an administrator ended this session')
}

function describe(session: Session) {
  const { jid, info, presence } = session
  return {
    jid,
    ip: info.ip,
    tls: info.tls ?? '',
    mechanism: info.mechanism ?? '',
    since: info.since,
    state: session.connected ? 'connected' : 'waiting',
    priority: presence === undefined ? null : session.priority,
    show: presence === undefined ? 'unavailable' : (childText(presence.el, 'show') ?? 'available'),
  }
}
