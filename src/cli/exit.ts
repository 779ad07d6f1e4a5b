import type { CommandError } from '../core/commands/command.ts'

/** Exit codes of hermodctl by what went wrong with a command. */
export const EXIT: Readonly<Record<CommandError['code'], number>> = { failed: 1, usage: 2, not_found: 3, conflict: 4 }
export const NOT_RUNNING = 5

/** Ends hermodctl: the message goes to standard error. */
export class Exit extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.name = 'Exit'
    this.code = code
  }
}
