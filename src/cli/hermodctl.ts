#!/usr/bin/env node
import { existsSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { isTable } from '../core/commands/command.ts'
import { type CommandInfo, SOCKET_NAME } from '../core/control/protocol.ts'
import { completion, SHELLS } from './completion.ts'
import { type Answer, ControlClient } from './control.ts'
import { EXIT, Exit, NOT_RUNNING } from './exit.ts'
import { HELP, helpOn, helpOnAll } from './help.ts'
import { invocation } from './invocation.ts'
import { ask, askYes } from './prompt.ts'
import { shown } from './table.ts'
import { completeWords, confirmed } from './words.ts'

async function main(argv: readonly string[]): Promise<number> {
  // Options come before the command: what follows it belongs to it, even if it begins with a dash.
  const at = commandIndex(argv)
  const { values } = parseArgs({
    args: argv.slice(0, at),
    options: {
      config: { type: 'string', short: 'c' },
      socket: { type: 'string' },
      json: { type: 'boolean' },
      yes: { type: 'boolean', short: 'y' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  const [command, ...words] = argv.slice(at)
  if (values.help === true) return print(HELP)
  if (command === undefined) throw new Exit(EXIT.usage, HELP)
  if (command === 'completion') {
    const script = completion(words[0])
    if (script === undefined) throw new Exit(EXIT.usage, `the shell is one of ${SHELLS.join(', ')}`)
    return print(script)
  }

  const { start } = invocation(process.env)
  const how = values.config === undefined ? start.replace(/ --$/, '') : `${start} --config ${values.config}`
  const client = new ControlClient(values.socket ?? (await socketPath(values.config)), how, progress)
  const json = values.json === true
  if (command === 'help') return help(client, words[0])
  const commands = await client.commands()
  if (command === 'commands') return print(json ? JSON.stringify(commands) : commands.map(c => c.name).join('\n'))
  const info = commands.find(c => c.name === command)
  if (info !== undefined && words.length === 1 && words[0] === '--help') return print(helpOn(info))
  const said = values.yes === true
  const meant =
    info === undefined
      ? { words, yes: said }
      : await confirmed(info, words, said, process.stdin.isTTY ? askYes : undefined)
  const complete = info === undefined ? words : await completeWords(info, meant.words, ask)
  const answer = await client.request(command, complete, meant.yes)
  progress('')
  return show(answer, info, json)
}

/** Where the command stands: after the options. */
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

async function help(client: ControlClient, name: string | undefined): Promise<number> {
  if (name === undefined) {
    try {
      return print(helpOnAll(await client.commands()))
    } catch (error) {
      if (!(error instanceof Exit) || error.code !== NOT_RUNNING) throw error
      return print(`${HELP}\nThe commands are those of the running server, but ${error.message}`)
    }
  }
  const info = (await client.commands()).find(c => c.name === name)
  if (info === undefined) throw new Exit(EXIT.usage, `there is no command "${name}"; see: help`)
  return print(helpOn(info))
}

/** Prints an answer; the exit code. A command that asks something fails if the answer is no, as the shell expects. */
function show(answer: Answer, info: CommandInfo | undefined, json: boolean): number {
  if ('error' in answer) throw new Exit(EXIT[answer.error.code], answer.error.message)
  const result = 'result' in answer ? answer.result : null
  const columns = isTable(info?.returns) ? Object.keys(info.returns) : undefined
  const text = json ? JSON.stringify(result) : shown(result, columns)
  if (text !== undefined) print(text)
  return result === false ? EXIT.failed : 0
}

/** How far a command is, for a person who waits; `''` takes it away. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text}\u001b[K`)
}

function print(text: string): number {
  console.log(text)
  return 0
}

/** Says why, and gives the exit code. */
function failed(error: unknown): number {
  const text = error instanceof Error ? error.message : String(error)
  console.error(text)
  if (error instanceof Exit) return error.code
  const misused = error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
  return misused ? EXIT.usage : EXIT.failed
}

process.exitCode = await main(process.argv.slice(2)).catch(failed)
