import { nearest } from '../../config/nearest.ts'
import { checkName } from '../../util/text.ts'
import type { Host } from '../host.ts'
import type { Logger } from '../log.ts'
import {
  type AccountName,
  type Command,
  CommandError,
  type CommandIo,
  type CommandResult,
  subjectOf,
} from './command.ts'
import { type Given, loggable, readArgs, resolveArgs } from './read.ts'
import { encode, joined } from './result.ts'

interface RunOptions extends Partial<CommandIo> {
  /** Whoever asks knows what cannot be taken back ({@link Command.confirm}): without it, such a command is refused. */
  readonly yes?: boolean
  /** Where it is noted, at `debug`, and who asks. */
  readonly log?: Logger
  readonly by?: string
}

/** The commands of a server: declared by each host, and run at the one that they are about. */
export class Commands {
  /** Those served at this moment, by name. */
  readonly hosts: ReadonlyMap<string, Host>
  /** Of one name those of all hosts; that of the server itself is `''`. */
  readonly #commands = new Map<string, { owner: string; at: Map<string, Command> }>()

  constructor(hosts: ReadonlyMap<string, Host>) {
    this.hosts = hosts
  }

  /** A command of the server as a whole, or of one of its hosts: a module declares its own on each that it runs on. */
  add(owner: string, command: Command, host = ''): () => void {
    const { name, summary } = command
    checkName('command', name)
    if (summary === '') throw new Error(`${owner}: the command ${name} has no summary`)
    const { owner: first, at } = this.#commands.get(name) ?? { owner, at: new Map<string, Command>() }
    if (first !== owner || at.has(host)) {
      throw new Error(`${owner}: the command ${name} is there already, from ${first}`)
    }
    at.set(host, command)
    this.#commands.set(name, { owner, at })
    return () => {
      if (at.delete(host) && at.size === 0) this.#commands.delete(name)
    }
  }

  /** As it is declared, which is the same at all hosts. */
  get(name: string): Command | undefined {
    return this.#commands.get(name)?.at.values().next().value
  }

  list(): Command[] {
    return [...this.#commands.keys()].sort().map(name => this.get(name)!)
  }

  /** Runs a command with what was given for its arguments. Rejects with CommandError where it cannot be done. */
  async run(
    name: string,
    given: Given,
    { yes, log, by, progress = () => {} }: RunOptions = {},
  ): Promise<CommandResult> {
    const command = this.get(name) ?? this.#missing(name)
    const read = readArgs(command, this.hosts, given)
    if (command.confirm !== undefined && yes !== true) {
      throw new CommandError('usage', `${command.confirm} Nothing was done: it has to be confirmed, with --yes`)
    }
    log?.debug({ by, command: loggable(command, read) }, 'a command')
    const args = await resolveArgs(command, this.hosts, read)
    const results: CommandResult[] = []
    for (const [there, own] of this.#at(command, args)) {
      const running = there.run({ ...args, ...own }, { progress })
      if (running instanceof Promise && command.removes !== true) goesOn(command, args, running)
      results.push(await encode(there.returns, await running, progress))
    }
    return joined(results)
  }

  #missing(name: string): never {
    const guess = nearest(name, [...this.#commands.keys()])
    const hint = guess === undefined ? '' : `; did you mean ${guess}?`
    throw new CommandError('usage', `there is no command "${name}"${hint} See: help`)
  }

  /** Where it runs: at the server, at the host that it is about, or, where that was left out, at all that have it. */
  #at(command: Command, args: Readonly<Record<string, unknown>>): [Command, own?: Record<string, Host>][] {
    const { owner, at } = this.#commands.get(command.name)!
    const subject = subjectOf(command)
    if (subject === undefined || at.has('')) return [[command]]
    const { name, arg } = subject
    const value = args[name]
    if (value === undefined) {
      return [...this.hosts.values()].flatMap(host => {
        const there = at.get(host.name)
        return there === undefined ? [] : [[there, { [name]: host }]]
      })
    }
    const host = arg.kind === 'host' ? (value as Host) : (value as AccountName).host
    const there = at.get(host.name)
    if (there === undefined) throw new CommandError('not_found', `${owner} does not run on ${host.name}`)
    return [[there]]
  }
}

/** For the account that a command is about. */
function goesOn(command: Command, args: Readonly<Record<string, unknown>>, work: Promise<unknown>): void {
  const subject = subjectOf(command)
  if (subject?.arg.kind !== 'account') return
  const { host, user } = args[subject.name] as AccountName
  void host.during(user, work)
}
