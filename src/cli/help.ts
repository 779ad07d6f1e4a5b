import { type Arg, synopsis } from '../core/commands/command.ts'
import type { CommandInfo } from '../core/control/protocol.ts'
import { table } from './table.ts'

export const HELP = `hermodctl: commands for a running hermod

  hermodctl [--config FILE] [--socket PATH] [--json] [--yes] COMMAND [ARGUMENT]...
  hermodctl help [COMMAND]            what there is, what a command takes (also: COMMAND --help)
  hermodctl commands                  their names only
  hermodctl completion bash|zsh|fish  a script for the shell to source

An ACCOUNT is written user@host, or as two words, user host. Passwords that are left out are asked for, or read from
standard input. What cannot be taken back is asked first, unless --yes is said. Without --socket the server is found by the configuration: --config, or ./hermod.yml, or ./data.
Exit codes: 0 done, 1 failed (or the answer is false), 2 wrong usage, 3 not found, 4 conflict, 5 the server does not run.
`

/** All commands, a line each. */
export function helpOnAll(commands: readonly CommandInfo[]): string {
  const rows = commands.map(c => ({ command: c.name, summary: c.summary }))
  return `${HELP}\n${table(rows, ['command', 'summary'])}`
}

export function helpOn(info: CommandInfo): string {
  const args = Object.entries(info.args).map(([name, arg]) => ({
    argument: name.toUpperCase(),
    meaning: meaningOf(arg),
  }))
  const parts = [synopsis(info), info.summary]
  if (args.length > 0) parts.push(table(args, ['argument', 'meaning']))
  if (info.example !== undefined) parts.push(`Example: hermodctl ${info.example}`)
  return parts.join('\n\n')
}

/** What an argument is, and where that is not any text, how it is written. */
function meaningOf({ doc, kind, values, members }: Arg<unknown>): string {
  if (values !== undefined) return `${doc} (${values.join(', ')})`
  if (members !== undefined) return `${doc} (JSON: an object with some of ${Object.keys(members).join(', ')})`
  return doc + (kind === 'list' ? ' (with commas between them)' : kind === 'bool' ? ' (true, false)' : '')
}
