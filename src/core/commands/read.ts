import { cut } from '../../util/text.ts'
import { Jid } from '../../xmpp/jid.ts'
import { type Arg, type Command, CommandError } from './command.ts'

/** A command with its arguments for the log: what may be a secret is left out. */
export function loggable(command: Command, args: Record<string, unknown>): string {
  const words = Object.entries(command.args).flatMap(([name, { kind }]) => {
    if (args[name] === undefined) return []
    return [kind === 'secret' ? '***' : kind === 'xml' ? '(xml)' : JSON.stringify(args[name])]
  })
  return [command.name, ...words].join(' ')
}

/** What was given for the arguments of a command: words in their order, as they are typed, or values by name. */
export type Given = readonly string[] | Readonly<Record<string, unknown>>

/** Throws CommandError where what was given is not what the command takes. */
export function readArgs(command: Command, hosts: readonly string[], given: Given): Record<string, unknown> {
  const named = isWords(given) ? byName(command, hosts, given) : given
  const args: Record<string, unknown> = {}
  for (const [name, arg] of Object.entries(command.args)) {
    const value = named[name]
    if (value !== undefined && value !== null) args[name] = readArg(name, arg, value, hosts)
    else if (!arg.optional) {
      throw new CommandError('usage', `${name} is missing (${arg.doc.toLowerCase()}). ${usage(command)}`)
    }
  }
  return args
}

function isWords(given: Given): given is readonly string[] {
  return Array.isArray(given)
}

function byName(command: Command, hosts: readonly string[], given: readonly string[]): Record<string, string> {
  const words = [...given]
  const named: Record<string, string> = {}
  for (const [name, arg] of Object.entries(command.args)) {
    if (words.length === 0) break
    // As in ejabberdctl: an account may be two words, user and host.
    if (arg.kind === 'account' && !words[0]!.includes('@') && hosts.includes(words[1] ?? '')) {
      words.splice(0, 2, `${words[0]}@${words[1]}`)
    }
    const word = words.shift()!
    // '' leaves out an optional argument before others that are wanted; where any text may stand it is a text like others.
    if (word === '' && arg.optional && (arg.kind !== 'text' || arg.values !== undefined)) continue
    named[name] = word
  }
  if (words.length > 0) {
    throw new CommandError('usage', `${words.length} word(s) too many: ${words.join(' ')}. ${usage(command)}`)
  }
  return named
}

function readArg(name: string, arg: Arg<unknown>, given: unknown, hosts: readonly string[]): unknown {
  const word = String(given)
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
