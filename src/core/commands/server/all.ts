import type { Command } from '../command.ts'
import { accountCommands } from './accounts.ts'
import { componentCommands } from './components.ts'
import type { ServerControl } from './control.ts'
import { deviceCommands } from './devices.ts'
import { federationCommands } from './federation.ts'
import { leavingCommands } from './leaving.ts'
import { messageCommands } from './messages.ts'
import { peopleCommands } from './people.ts'
import { serverCommands } from './process.ts'
import { sessionCommands } from './sessions.ts'

/** The commands of the server itself; modules add theirs. Names are ejabberd's where it has the command. */
export function adminCommands(server: ServerControl): Command[] {
  return [
    ...accountCommands(),
    ...deviceCommands(),
    ...sessionCommands(server),
    ...messageCommands(server),
    ...peopleCommands(),
    ...componentCommands(server),
    ...leavingCommands(server),
    ...federationCommands(server),
    ...serverCommands(server),
  ]
}
