import type { Command, CommandError, CommandResult } from '../commands/command.ts'
import type { Given } from '../commands/read.ts'

/**
 * hermodctl and the server speak lines of JSON: a request, then any number of progress lines, then one answer. Requests on
 * one connection are answered one after the other. The command `commands` is answered with what there is.
 */
export interface ControlRequest {
  command: string
  args: Given
  /** Whoever asks knows what it does ({@link Command.confirm}). */
  yes?: boolean
}

export type ControlAnswer =
  | { progress: string }
  | { result: CommandResult }
  | { commands: readonly CommandInfo[] }
  | { error: { code: CommandError['code']; message: string } }

/** A declared command as the other side needs it: for help, for what is asked first, and to show what comes. */
export type CommandInfo = Omit<Command, 'run'>

/** Longest request, in UTF-16 units. */
export const MAX_LINE = 1024 * 1024

export const SOCKET_NAME = 'hermodctl.sock'

/** The longest path that a Unix socket can have on every system (`sun_path`), in bytes. */
export const MAX_PATH = 103
