#!/usr/bin/env node
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import type { CommandResult } from '../core/commands.ts'
import { type CommandInfo, type ControlAnswer, SOCKET_NAME } from '../core/control/protocol.ts'
import { completion } from './completion.ts'
import { ask } from './prompt.ts'
import { table } from './table.ts'

const HELP = `hermodctl: commands for a running hermod

  hermodctl [--config FILE] [--socket PATH] [--json] COMMAND [ARGUMENT]...
  hermodctl help [COMMAND]            what there is, what a command takes
  hermodctl completion bash|zsh|fish  a script for the shell

An ACCOUNT is written user@host. Passwords that are left out are asked for, or read from standard input.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict, 5 the server does not run.
`

const EXIT = { failed: 1, usage: 2, not_found: 3, conflict: 4 } as const
const NOT_RUNNING = 5

type Final = Exclude<ControlAnswer, { progress: string }>

/** Says it and ends. */
class Exit extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

async function main(argv: string[]): Promise<number> {
  // Options come before the command: what follows it belongs to it, even if it begins with a dash.
  const at = commandIndex(argv)
  const { values } = parseArgs({
    args: argv.slice(0, at),
    options: {
      config: { type: 'string', short: 'c' },
      socket: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  const [command, ...words] = argv.slice(at)
  if (values.help === true || command === undefined) {
    console.log(HELP)
    return values.help === true ? 0 : EXIT.usage
  }
  const call = (name: string, args: string[]) => request(socket, name, args)
  if (command === 'completion') return print(completion(words[0] ?? ''))
  const socket = values.socket ?? (await socketPath(values.config))
  if (command === 'help') return help(await describe(call), words[0])
  const args = await complete(await describe(call), command, words)
  const answer = await call(command, args)
  if ('error' in answer) throw new Exit(EXIT[answer.error.code], answer.error.message)
  show(answer.result, answer.columns, values.json === true)
  return answer.result === false ? EXIT.failed : 0
}

function commandIndex(argv: readonly string[]): number {
  let i = 0
  while (i < argv.length && argv[i]!.startsWith('-')) {
    i += /^(?:--config|--socket|-c)$/.test(argv[i]!) ? 2 : 1
  }
  return i
}

/** Where the server listens, by the same configuration that it was started with. */
async function socketPath(config: string | undefined): Promise<string> {
  const file = config ?? (existsSync('hermod.yml') ? 'hermod.yml' : undefined)
  if (file === undefined) return path.resolve('data', SOCKET_NAME)
  const { dataFolder } = await import('./datafolder.ts')
  const { data, socket } = await dataFolder(file)
  return socket ?? path.resolve(data, SOCKET_NAME)
}

function request(socketPath: string, command: string, args: string[]): Promise<Final> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath)
    socket.on('error', () => {
      reject(new Exit(NOT_RUNNING, `no server answers at ${socketPath}. Start it with: npm start (or: hermod start)`))
    })
    socket.on('connect', () => socket.write(`${JSON.stringify({ command, args })}\n`))
    createInterface({ input: socket }).on('line', line => {
      const answer = JSON.parse(line) as ControlAnswer
      if ('progress' in answer) {
        if (process.stderr.isTTY) process.stderr.write(`\r${answer.progress}\u001b[K`)
        return
      }
      if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
      socket.end()
      resolve(answer)
    })
    socket.on('close', () => reject(new Exit(EXIT.failed, 'the server went away before it answered')))
  })
}

async function describe(call: (name: string, args: string[]) => Promise<Final>): Promise<CommandInfo[]> {
  const answer = await call('commands', [])
  if ('error' in answer) throw new Exit(EXIT.failed, answer.error.message)
  const rows = answer.result as readonly { command: string }[]
  return rows.map(row => JSON.parse(row.command) as CommandInfo)
}

/** Paths become absolute; a secret that is missing at the end is asked for. */
async function complete(commands: readonly CommandInfo[], name: string, words: readonly string[]): Promise<string[]> {
  const info = commands.find(c => c.name === name)
  if (info === undefined) return [...words]
  const args = [...words]
  // user and host in two words, as in ejabberdctl, take one place more.
  const shift = info.args[0]?.kind === 'account' && words.length > 0 && !words[0]!.includes('@') ? 1 : 0
  for (const [i, arg] of info.args.entries()) {
    const place = i + shift
    const word = args[place]
    if (arg.kind === 'file' && word !== undefined) args[place] = path.resolve(word)
    if (arg.kind === 'secret' && word === undefined && args.length === place && !arg.optional)
      args.push(await ask(arg.doc))
  }
  return args
}

function help(commands: readonly CommandInfo[], name: string | undefined): number {
  if (name === undefined) {
    console.log(HELP)
    return print(
      table(
        commands.map(c => ({ command: c.name, summary: c.summary })),
        ['command', 'summary'],
      ),
    )
  }
  const info = commands.find(c => c.name === name)
  if (info === undefined) throw new Exit(EXIT.usage, `there is no command "${name}"; see: help`)
  const words = info.args.map(a => (a.optional ? `[${a.name.toUpperCase()}]` : a.name.toUpperCase()))
  console.log(`${[info.name, ...words].join(' ')}\n\n${info.summary}\n`)
  const args = info.args.map(a => ({
    argument: a.name.toUpperCase(),
    meaning: a.doc + (a.values === undefined ? '' : ` (${a.values.join(', ')})`),
  }))
  if (args.length > 0) console.log(table(args, ['argument', 'meaning']))
  if (info.example !== undefined) console.log(`\nExample: hermodctl ${info.example}`)
  return 0
}

function show(result: CommandResult, columns: readonly string[] | undefined, json: boolean): void {
  if (json) console.log(JSON.stringify(result ?? null))
  else if (Array.isArray(result)) console.log(table(result, columns ?? []))
  else if (result !== undefined && result !== null) console.log(String(result))
}

function print(text: string): number {
  console.log(text)
  return 0
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof Exit) {
    console.error(error.message)
    process.exitCode = error.code
  } else {
    console.error(error instanceof Error ? error.message : String(error))
    process.exitCode = EXIT.usage
  }
}
