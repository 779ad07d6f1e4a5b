import { childText } from '../../xml/index.ts'
import { StreamError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import type { Session } from '../session.ts'
import { arg, type Command, CommandError, defineCommand, type TableRow } from './command.ts'
import { existing, type ServerControl } from './servercontrol.ts'

const COLUMNS = ['jid', 'ip', 'tls', 'mechanism', 'since', 'state', 'priority', 'show']

export function sessionCommands(server: ServerControl): Command[] {
  return [
    defineCommand({
      name: 'connected_users',
      summary: 'Lists the sessions, connected or waiting to be resumed.',
      args: { host: arg.host('Only of this host', { optional: true }) },
      columns: COLUMNS,
      run({ host }) {
        const hosts = host === undefined ? server.hosts : [server.host(host)!]
        return hosts.flatMap(h => [...h.sessions()].map(describe))
      },
    }),
    defineCommand({
      name: 'user_resources',
      summary: 'Lists the sessions of an account.',
      args: { account: arg.account('The account') },
      columns: COLUMNS,
      async run({ account }) {
        const { host, user } = await existing(server, account)
        return [...(host.accounts.get(user)?.sessions.values() ?? [])].map(describe)
      },
    }),
    defineCommand({
      name: 'kick_user',
      summary: 'Ends all sessions of an account. Its messages stay queued.',
      args: { account: arg.account('The account'), reason: arg.text('Told to the clients', { optional: true }) },
      async run({ account, reason }) {
        const { host, user } = await existing(server, account)
        const sessions = [...(host.accounts.get(user)?.sessions.values() ?? [])]
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
      run({ jid: text, reason }) {
        const jid = Jid.from(text)
        const session = server.host(jid.domain)?.accounts.get(jid.local)?.sessions.get(jid.resource)
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

function describe(session: Session): TableRow {
  const { info, presence } = session
  return {
    jid: session.jid.toString(),
    ip: info.ip,
    tls: info.tls ?? '',
    mechanism: info.mechanism ?? '',
    since: new Date(info.since).toISOString(),
    state: session.connected ? 'connected' : 'waiting',
    priority: presence === undefined ? null : session.priority,
    show: presence === undefined ? 'unavailable' : (childText(presence.el, 'show') ?? 'available'),
  }
}
