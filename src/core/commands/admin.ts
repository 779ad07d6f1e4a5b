import { accountCommands } from './accounts.ts'
import type { Command } from './command.ts'
import { deviceCommands } from './devices.ts'
import { leavingCommands } from './leaving.ts'
import { messageCommands } from './messages.ts'
import { peopleCommands } from './people.ts'
import { serverCommands } from './server.ts'
import type { ServerControl } from './servercontrol.ts'
import { sessionCommands } from './sessions.ts'

export type { BackupReport, RestoreReport, ServerControl } from './servercontrol.ts'

/** The commands of the server itself; modules add theirs. Names are ejabberd's where it has the command. */
export function adminCommands(server: ServerControl): Command[] {
  return [
    ...accountCommands(server),
    ...deviceCommands(server),
    ...sessionCommands(server),
    ...messageCommands(server),
    ...peopleCommands(server),
    ...leavingCommands(server),
    ...serverCommands(server),
  ]
}
