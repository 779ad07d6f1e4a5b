import { parseDuration } from '../../util/duration.ts'
import { cut } from '../../util/text.ts'
import { parseDateTime } from '../../xmpp/datetime.ts'
import { Jid } from '../../xmpp/jid.ts'
import { accountOf } from '../directory.ts'
import type { Host } from '../host.ts'
import { type Arg, type ArgKind, type ArgShape, type Command, CommandError, synopsis } from './command.ts'

/** What was given for the arguments of a command: words in their order, as they are typed, or values of JSON by name. */
export type Given = readonly string[] | Readonly<Record<string, unknown>>
type Hosts = ReadonlyMap<string, Host>
type Values = Record<string, unknown>

/** By the kinds of the arguments; hosts and accounts are still names. Throws CommandError. */
export function readArgs(command: Command, hosts: Hosts, given: Given): Values {
  const named = isWords(given) ? byName(command, hosts, given) : given
  const args: Values = {}
  for (const [name, arg] of Object.entries(command.args)) {
    const value = named[name]
    const word = typeof value === 'string' ? WORDS[arg.kind] : undefined
    if (value !== undefined && value !== null) args[name] = readArg(name, arg, value, hosts, word)
    else if (!arg.optional) {
      throw new CommandError('usage', `${name} is missing (${arg.doc.toLowerCase()}). usage: ${synopsis(command)}`)
    }
  }
  return args
}

/** Puts hosts and accounts in place of their names. Rejects with CommandError where there is no such account. */
export async function resolveArgs({ args: shape }: Command, hosts: Hosts, args: Values): Promise<Values> {
  const resolved = { ...args }
  for (const [name, { kind, free }] of Object.entries(shape)) {
    const value = args[name]
    if (kind === 'host') resolved[name] = hosts.get(value as string)
    if (kind !== 'account') continue
    const jid = value as Jid
    const host = hosts.get(jid.domain)!
    resolved[name] = free === true ? { jid, user: jid.local, host } : await accountOf(host.router, jid)
    if (resolved[name] === undefined) {
      throw new CommandError('not_found', `there is no account ${jid}; make it with: register ${jid}`)
    }
  }
  return resolved
}

/** A command with its arguments, as they are read, for the log: what may be a secret is left out. */
export function loggable(command: Command, args: Values): string {
  const words = Object.entries(command.args).flatMap(([name, { kind }]) => {
    if (args[name] === undefined) return []
    return [kind === 'secret' ? '***' : kind === 'xml' ? '(xml)' : JSON.stringify(args[name])]
  })
  return [command.name, ...words].join(' ')
}

function isWords(given: Given): given is readonly string[] {
  return Array.isArray(given)
}

function byName(command: Command, hosts: Hosts, given: readonly string[]): Record<string, string> {
  const words = [...given]
  const named: Record<string, string> = {}
  for (const [name, arg] of Object.entries(command.args)) {
    if (words.length === 0) break
    // As in ejabberdctl: an account may be two words, user and host.
    if (arg.kind === 'account' && !words[0]!.includes('@') && hosts.has(words[1] ?? '')) {
      words.splice(0, 2, `${words[0]}@${words[1]}`)
    }
    const word = words.shift()!
    // '' leaves out an optional argument before others that are wanted; where any text may stand it is a text like others.
    if (word === '' && arg.optional && (arg.kind !== 'text' || arg.values !== undefined)) continue
    named[name] = word
  }
  if (words.length > 0) {
    throw new CommandError('usage', `${words.length} word(s) too many: ${words.join(' ')}. usage: ${synopsis(command)}`)
  }
  return named
}

/** Of each kind what is wanted, and what comes of a value of JSON; undefined: it is none. */
const KINDS: Readonly<Record<ArgKind, readonly [wanted: string, read: (given: unknown) => unknown]>> = {
  text: ['a text', textOf],
  secret: ['a text', textOf],
  file: ['a path', textOf],
  xml: ['a text', textOf],
  int: ['a whole number', given => (Number.isSafeInteger(given) ? given : undefined)],
  bool: ['true or false', given => (typeof given === 'boolean' ? given : undefined)],
  time: ['a time such as 2026-11-24T08:00:00Z (XEP-0082)', given => parseDateTime(textOf(given) ?? '')],
  duration: ['a duration such as 12h', given => parseDuration(textOf(given) ?? '')],
  list: ['a list of texts', listOf],
  object: ['a JSON object', objectOf],
  jid: ['an address is written user@host or user@host/resource', given => Jid.parse(textOf(given) ?? '')],
  account: ['an account is written user@host', bareOf],
  host: ['a host', hostOf],
}

const BOOLS = new Map([
  ...['true', 'yes', '1'].map(word => [word, true] as const),
  ...['false', 'no', '0'].map(word => [word, false] as const),
])
/** What is typed in one word, or written in a field of a form, as the value of JSON that it stands for. */
const WORDS: Readonly<Partial<Record<ArgKind, (word: string) => unknown>>> = {
  int: word => (/^-?\d+$/.test(word) ? Number(word) : undefined),
  bool: word => BOOLS.get(word),
  list: word => word.split(',').map(entry => entry.trim()),
  object: parsed,
}

function readArg(
  name: string,
  { kind, values, members, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY }: Arg<unknown>,
  given: unknown,
  hosts: Hosts,
  word?: (given: string) => unknown,
): unknown {
  const [wanted, read] = KINDS[kind]
  const wrong = (wanted: string): CommandError => {
    const text = typeof given === 'string' ? given : (JSON.stringify(given) ?? '')
    return new CommandError('usage', `${name}: ${wanted}, not "${cut(text, 100)}"`)
  }
  const value = read(word === undefined ? given : word(given as string))
  if (values !== undefined && ![value].flat().every(one => values.includes(one as string))) {
    throw wrong(`one of ${values.join(', ')}`)
  }
  if (value === undefined) throw wrong(wanted)
  if (typeof value === 'number' && (value < min || value > max)) {
    const bounds = Number.isFinite(max) ? `${min} to ${max}` : `at least ${min}`
    throw wrong(`${wanted}, ${bounds}${kind === 'duration' ? ' ms' : ''}`)
  }
  if (members !== undefined) return readMembers(name, members, value as Values, hosts)
  if (kind !== 'host' && kind !== 'account') return value
  const host = kind === 'account' ? (value as Jid).domain : String(value)
  if (hosts.has(host)) return value
  const served = [...hosts.keys()].join(', ')
  throw new CommandError('not_found', `${name}: ${cut(host, 100)} is not served here; hosts: ${served}`)
}

function readMembers(name: string, members: ArgShape, given: Values, hosts: Hosts): Values {
  const unknown = Object.keys(given).find(key => !Object.hasOwn(members, key))
  if (unknown !== undefined) {
    const known = Object.keys(members).join(', ')
    throw new CommandError('usage', `${name} has no "${cut(unknown, 50)}", but: ${known}`)
  }
  const read: Values = {}
  for (const [key, arg] of Object.entries(members)) {
    const value = given[key]
    if (arg.optional && value === null) read[key] = null
    else if (value !== undefined) read[key] = readArg(key, arg, value, hosts)
    else if (!arg.optional) throw new CommandError('usage', `${name}: ${key} is missing`)
  }
  return read
}

function textOf(given: unknown): string | undefined {
  return typeof given === 'string' ? given : undefined
}

function listOf(given: unknown): readonly string[] | undefined {
  if (!Array.isArray(given) || !given.every(entry => typeof entry === 'string')) return undefined
  return given.filter(entry => entry !== '')
}

function objectOf(given: unknown): Values | undefined {
  return typeof given === 'object' && given !== null && !Array.isArray(given) ? (given as Values) : undefined
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

function bareOf(given: unknown): Jid | undefined {
  const jid = Jid.parse(textOf(given) ?? '')
  return jid !== undefined && jid.local !== '' && jid.isBare ? jid : undefined
}

function hostOf(given: unknown): string | undefined {
  const text = textOf(given)
  return text === undefined ? undefined : (Jid.parse(text)?.toString() ?? text)
}
