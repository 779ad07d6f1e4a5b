import { nearest } from '../../config/nearest.ts'
import { Jid } from '../../xmpp/jid.ts'
import type { Host } from '../host.ts'
import type { Logger } from '../log.ts'
import { type Command, CommandError, type CommandIo, type CommandResult } from './command.ts'
import { type Given, loggable, readArgs } from './read.ts'

export interface RunOptions extends Partial<CommandIo> {
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
    const { name } = command
    const { owner: first, at } = this.#commands.get(name) ?? { owner, at: new Map<string, Command>() }
    if (first !== owner || at.has(host)) {
      throw new Error(`${owner}: the command ${name} is there already, from ${first}`)
    }
    at.set(host, command)
    this.#commands.set(name, { owner, at })
    return () => {
      at.delete(host)
      if (at.size === 0) this.#commands.delete(name)
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
    const command = this.find(name)
    const args = readArgs(command, [...this.hosts.keys()], given)
    if (command.confirm !== undefined && yes !== true) {
      throw new CommandError('usage', `${command.confirm} Nothing was done: it has to be confirmed, with --yes`)
    }
    log?.debug({ by, command: loggable(command, args) }, 'a command')
    return this.#at(command, args).run(args, { progress })
  }

  /** Throws CommandError where there is no such command. */
  find(name: string): Command {
    const command = this.get(name)
    if (command !== undefined) return command
    const guess = nearest(name, [...this.#commands.keys()])
    const hint = guess === undefined ? '' : `; did you mean ${guess}?`
    throw new CommandError('usage', `there is no command "${name}"${hint} See: help`)
  }

  /** The command of the host that the arguments name. */
  #at(command: Command, args: Record<string, unknown>): Command {
    const { owner, at } = this.#commands.get(command.name)!
    const own = at.get('')
    const about = Object.entries(command.args).find(([, { kind }]) => kind === 'account' || kind === 'host')
    const named = about && args[about[0]]
    if (own !== undefined || named === undefined) return own ?? command
    const host = Jid.from(String(named)).domain
    const there = at.get(host)
    if (there === undefined) throw new CommandError('not_found', `${owner} does not run on ${host}`)
    return there
  }
}
