import type { Command, CommandError, CommandResult } from '../commands/command.ts'
import type { Given } from '../commands/read.ts'

/**
 * hermodctl and the server speak lines of JSON: a request, then any number of progress lines, then one answer. Requests on
 * one connection are answered one after the other. The command `commands` is answered with what there is.
 */
export interface ControlRequest {
  command: string
  args: Given
  /** Whoever asks knows what it does ({@link CommandInfo.confirm}). */
  yes?: boolean
}

export type ControlAnswer =
  | { progress: string }
  | { result: CommandResult; columns?: readonly string[] }
  | { commands: readonly CommandInfo[] }
  | { error: { code: CommandError['code']; message: string } }

/** A declared command as the other side needs it for help and completion. */
export interface CommandInfo {
  name: string
  summary: string
  args: { name: string; kind: string; doc: string; optional: boolean; values?: readonly string[] }[]
  example?: string
  /** What it does that cannot be taken back: without `yes` it is refused. */
  confirm?: string
}

export function describeCommand(command: Command): CommandInfo {
  const args = Object.entries(command.args).map(([name, { kind, doc, optional, values }]) => ({
    name,
    kind,
    doc,
    optional,
    ...(values === undefined ? {} : { values }),
  }))
  const { name, summary, example, confirm } = command
  return {
    name,
    summary,
    args,
    ...(example === undefined ? {} : { example }),
    ...(confirm === undefined ? {} : { confirm }),
  }
}

/** Longest request, in UTF-16 units. */
export const MAX_LINE = 1024 * 1024

export const SOCKET_NAME = 'hermodctl.sock'

/** The longest path that a Unix socket can have on every system (`sun_path`), in bytes. */
export const MAX_PATH = 103
