import { type Columns, type Command, defineCommand } from '../command.ts'
import type { ServerControl } from './control.ts'

const COMPONENT = {
  component: 'text',
  connections: 'int',
  ip: 'list',
  since: 'time?',
} as const satisfies Columns

export function componentCommands(server: ServerControl): Command[] {
  return [
    defineCommand({
      name: 'components',
      summary: 'Lists the components, connected or not, with the addresses they connect from.',
      args: {},
      returns: COMPONENT,
      run: () => server.componentList(),
    }),
  ]
}
