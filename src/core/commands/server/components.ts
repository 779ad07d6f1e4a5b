import { orderedTime } from '../../../util/ids.ts'
import { parseHead } from '../../../xml/index.ts'
import { StanzaError, StreamError } from '../../../xmpp/errors.ts'
import { arg, type Columns, type Command, CommandError, defineCommand } from '../command.ts'
import type { ComponentControl, ServerControl } from './control.ts'

const COMPONENT = {
  component: 'text',
  connections: 'int',
  ip: 'list',
  since: 'time?',
  queue: 'int',
} as const satisfies Columns

const MESSAGE = { id: 'text', from: 'text', to: 'text', since: 'time?', bytes: 'int' } as const satisfies Columns
/** Messages that are shown of a queue. */
const SHOWN = 100

export function componentCommands(server: ServerControl): Command[] {
  const find = (name: string): ComponentControl => {
    const found = server.components.get(name.toLowerCase())
    if (found === undefined) throw new CommandError('not_found', `there is no component ${name}; see components`)
    return found
  }
  const component = arg.text('The domain of the component')
  return [
    defineCommand({
      name: 'components',
      summary:
        'Lists the components, connected or not, with the addresses they connect from and the messages that wait.',
      args: {},
      returns: COMPONENT,
      run: () =>
        [...server.components].map(({ name, connections, backlog }) => ({
          component: name,
          connections: connections.length,
          ip: connections.map(({ stream }) => stream.transport.peer.ip),
          since: connections[0]?.since ?? null,
          queue: backlog.queue.messages,
        })),
    }),
    defineCommand({
      name: 'component_queue',
      summary: 'Shows the oldest messages that wait for a component, or that it has not confirmed.',
      args: {
        component,
        limit: arg.int(`Messages at most; default ${SHOWN}`, { optional: true, min: 1, max: 10_000 }),
      },
      returns: MESSAGE,
      example: 'component_queue irc.example.org',
      async run({ component, limit = SHOWN }) {
        const waiting = await find(component).backlog.queue.peek(limit)
        return waiting.map(({ id, bytes }) => {
          const { from = '', to = '' } = parseHead(bytes).attrs
          return { id, from, to, since: orderedTime(id) ?? null, bytes: bytes.length }
        })
      },
    }),
    defineCommand({
      name: 'component_drop',
      summary: 'Gives up the messages that wait for a component, but for those on their way to it. Gives their number.',
      args: { component },
      returns: 'int',
      example: '--yes component_drop irc.example.org',
      confirm: 'The messages go back to their senders as errors.',
      run: ({ component }) =>
        find(component).backlog.queue.drop(
          new StanzaError('remote-server-timeout', 'an administrator has given up what waited there'),
        ),
    }),
    defineCommand({
      name: 'component_reset',
      summary: 'Ends the connections of a component, which may log in again. Gives their number.',
      args: { component },
      returns: 'int',
      example: 'component_reset irc.example.org',
      run({ component }) {
        const found = find(component)
        const { length } = found.connections
        found.end(new StreamError('reset', 'an administrator ended this connection'))
        return length
      },
    }),
  ]
}
