import { Jid } from '../../../xmpp/jid.ts'
import { arg, type Command, CommandError, defineCommand } from '../command.ts'
import type { ServerControl } from './control.ts'

/** A stream with another server, for a pair of domains. */
interface PeerStream {
  /** Elsewhere, and of ours. */
  readonly domain: string
  readonly local: string
  readonly state: string
  /** `external` or `dialback`; null while there is no stream. */
  readonly method: string | null
  readonly tls: string | null
  readonly bidi: boolean | null
  readonly sm: boolean | null
  readonly ip: string | null
  /** ms since 1970. */
  readonly since: number | null
}

export interface OutgoingPeer extends PeerStream {
  readonly messages: number
  readonly bytes: number
  /** When it is tried again, ms since 1970. */
  readonly retry: number | null
  /** Why the last attempt failed. */
  readonly reason: string | null
}

export interface WaitingForPeer {
  readonly id: string
  /** ms since 1970. */
  readonly at: number
  readonly from: string
  readonly to: string
  readonly bytes: number
}

/** What commands may do with other servers. */
export interface FederationControl {
  outgoing(): OutgoingPeer[]
  incoming(): PeerStream[]
  /** What waits for a domain, oldest first, up to so many for each domain of ours. */
  peek(remote: string, limit: number): Promise<WaitingForPeer[]>
  /** Gives up what waits for a domain. Resolves with how many messages that were. */
  drop(remote: string): Promise<number>
  /** Ends all streams with a domain. The number of them. */
  reset(remote: string): number
  /** Tries to reach a domain at once, or all for which something waits. The number of those tried. */
  retry(remote: string | undefined): number
}

/** Messages that a peek shows if not told otherwise, and at most. */
const SHOWN = 50
const MOST = 1000

const STREAM = {
  domain: 'text',
  local: 'text',
  state: 'text',
  method: 'text?',
  tls: 'text?',
  bidi: 'bool?',
  sm: 'bool?',
  ip: 'text?',
  since: 'time?',
} as const

export function federationCommands(server: ServerControl): Command[] {
  const federation = (): FederationControl => {
    if (server.federation !== undefined) return server.federation
    throw new CommandError('failed', 'this server does not talk with others: s2s.enabled is false')
  }
  return [
    defineCommand({
      name: 's2s_out',
      summary:
        'Lists what is sent to other servers, by domain: state, how the stream was authenticated, what waits, why they could not be reached.',
      args: {},
      returns: { ...STREAM, messages: 'int', bytes: 'int', retry: 'time?', reason: 'text?' },
      run: () => federation().outgoing(),
    }),
    defineCommand({
      name: 's2s_in',
      summary: 'Lists the streams on which other servers send to this one, by pair of domains.',
      args: {},
      returns: STREAM,
      run: () => federation().incoming(),
    }),
    defineCommand({
      name: 's2s_queue',
      summary: 'Shows the messages that wait for another server, oldest first; not what they say.',
      args: {
        domain: arg.text('The domain elsewhere'),
        limit: arg.int(`How many at most; default ${SHOWN}`, { optional: true, min: 1, max: MOST }),
      },
      returns: { id: 'text', at: 'time', from: 'text', to: 'text', bytes: 'int' },
      example: 's2s_queue example.com',
      run: ({ domain, limit = SHOWN }) => federation().peek(domainOf(domain), limit),
    }),
    defineCommand({
      name: 's2s_drop',
      summary: 'Gives up the messages that wait for another server. Their senders are told. Gives their number.',
      args: { domain: arg.text('The domain elsewhere') },
      returns: 'int',
      example: '--yes s2s_drop example.com',
      confirm: 'What waits for this domain goes back to its senders.',
      run: ({ domain }) => federation().drop(domainOf(domain)),
    }),
    defineCommand({
      name: 's2s_reset',
      summary: 'Ends the streams with another server; what waits is sent on new ones. Gives their number.',
      args: { domain: arg.text('The domain elsewhere') },
      returns: 'int',
      example: 's2s_reset example.com',
      run: ({ domain }) => federation().reset(domainOf(domain)),
    }),
    defineCommand({
      name: 's2s_retry',
      summary: 'Tries at once to reach another server, or all for which messages wait. Gives the number of attempts.',
      args: { domain: arg.text('The domain elsewhere; default all', { optional: true }) },
      returns: 'int',
      example: 's2s_retry example.com',
      run: ({ domain }) => federation().retry(domain && domainOf(domain)),
    }),
  ]
}

function domainOf(text: string): string {
  const jid = Jid.parse(text)
  if (jid === undefined || jid.local !== '' || jid.resource !== '')
    throw new CommandError('usage', `${text} is no domain`)
  return jid.domain
}
