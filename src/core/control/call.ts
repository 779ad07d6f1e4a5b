import { nearest } from '../../config/nearest.ts'
import { cut } from '../../util/text.ts'
import { Jid } from '../../xmpp/jid.ts'
import {
  type Arg,
  type Command,
  CommandError,
  type CommandIo,
  type CommandResult,
  type Commands,
} from '../commands/commands.ts'
import type { Logger } from '../log.ts'
import type { CommandInfo } from './protocol.ts'

/** Runs a command with its arguments as words, checked by its declaration. Throws CommandError. */
export async function callCommand(
  commands: Commands,
  hosts: readonly string[],
  name: string,
  words: readonly string[],
  io: CommandIo,
  { yes = false, log }: { yes?: boolean; log?: Logger } = {},
): Promise<{ result: CommandResult; columns?: readonly string[] }> {
  const command = commands.get(name)
  if (command === undefined) {
    const guess = nearest(
      name,
      commands.list().map(c => c.name),
    )
    throw new CommandError(
      'usage',
      `there is no command "${name}"${guess === undefined ? '' : `; did you mean ${guess}?`} See: help`,
    )
  }
  const args = readArgs(command, hosts, words)
  if (command.confirm !== undefined && !yes) {
    throw new CommandError('usage', `${command.confirm} Nothing was done: it has to be confirmed, with --yes`)
  }
  log?.debug({ by: 'hermodctl', command: loggable(command, args) }, 'a command')
  const result = await command.run(args, io)
  return command.columns === undefined ? { result } : { result, columns: command.columns }
}

/** A command with its arguments for the log: what may be a secret is left out. */
export function loggable(command: Command, args: Record<string, unknown>): string {
  const words = Object.entries(command.args).flatMap(([name, { kind }]) => {
    if (args[name] === undefined) return []
    return [kind === 'secret' ? '***' : kind === 'xml' ? '(xml)' : JSON.stringify(args[name])]
  })
  return [command.name, ...words].join(' ')
}

/** Words to arguments by name. */
export function readArgs(
  command: Command,
  hosts: readonly string[],
  given: readonly string[],
): Record<string, unknown> {
  const words = [...given]
  const args: Record<string, unknown> = {}
  for (const [name, arg] of Object.entries(command.args)) {
    if (words.length === 0) {
      if (arg.optional) continue
      throw new CommandError('usage', `${name} is missing (${arg.doc.toLowerCase()}). ${usage(command)}`)
    }
    // As in ejabberdctl: an account may be two words, user and host.
    if (arg.kind === 'account' && !words[0]!.includes('@') && hosts.includes(words[1] ?? '')) {
      words.splice(0, 2, `${words[0]}@${words[1]}`)
    }
    const word = words.shift()!
    // '' leaves out an optional argument before others that are wanted; where any text may stand it is a text like others.
    if (word === '' && arg.optional && (arg.kind !== 'text' || arg.values !== undefined)) continue
    args[name] = readArg(name, arg, word, hosts)
  }
  if (words.length > 0) {
    throw new CommandError('usage', `${words.length} word(s) too many: ${words.join(' ')}. ${usage(command)}`)
  }
  return args
}

/** Texts by the names of arguments, as forms give them; empty ones are left out. */
export function readNamedArgs(
  command: Command,
  hosts: readonly string[],
  given: (name: string) => string | undefined,
): Record<string, unknown> {
  const args: Record<string, unknown> = {}
  for (const [name, arg] of Object.entries(command.args)) {
    const word = given(name)
    if (word !== undefined && word !== '') args[name] = readArg(name, arg, word, hosts)
    else if (!arg.optional) throw new CommandError('usage', `${name} is missing (${arg.doc.toLowerCase()})`)
  }
  return args
}

function readArg(name: string, arg: Arg<unknown>, word: string, hosts: readonly string[]): unknown {
  const wrong = (wanted: string) => new CommandError('usage', `${name}: ${wanted}, not "${cut(word, 100)}"`)
  if (arg.values !== undefined && !arg.values.includes(word)) throw wrong(`one of ${arg.values.join(', ')}`)
  switch (arg.kind) {
    case 'account': {
      const jid = Jid.parse(word)
      if (jid === undefined || jid.local === '' || !jid.isBare) throw wrong('an account is written user@host')
      if (!hosts.includes(jid.domain)) throw notServed(name, jid.domain, hosts)
      return jid.toString()
    }
    case 'jid': {
      const jid = Jid.parse(word)
      if (jid === undefined) throw wrong('an address is written user@host or user@host/resource')
      return jid.toString()
    }
    case 'host': {
      const host = Jid.parse(word)?.toString() ?? word
      if (!hosts.includes(host)) throw notServed(name, cut(word, 100), hosts)
      return host
    }
    case 'int': {
      const value = /^-?\d+$/.test(word) ? Number(word) : Number.NaN
      if (!Number.isSafeInteger(value)) throw wrong('a whole number')
      return value
    }
    default:
      return word
  }
}

function notServed(name: string, host: string, hosts: readonly string[]): CommandError {
  return new CommandError('not_found', `${name}: ${host} is not served here; hosts: ${hosts.join(', ')}`)
}

/** `usage: register ACCOUNT PASSWORD` */
export function usage(command: Command): string {
  const words = Object.entries(command.args).map(([name, arg]) =>
    arg.optional ? `[${name.toUpperCase()}]` : name.toUpperCase(),
  )
  return `usage: ${[command.name, ...words].join(' ')}`
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
