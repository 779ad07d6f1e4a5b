#!/usr/bin/env -S node --max-semi-space-size=16
import { parseArgs } from 'node:util'
import { ConfigError } from '../config/diagnostics.ts'
import { nearest } from '../config/nearest.ts'
import { VERSION } from '../version.ts'
import { check } from './check.ts'
import { runServer } from './run.ts'

const HELP = `hermod ${VERSION}: an XMPP server

  hermod start [--config FILE] [--set path.to.option=value]...   runs in the foreground
  hermod check [--config FILE] [--set path.to.option=value]...   names every mistake in a configuration, certificates too
  hermod version

Without --config it reads ./hermod.yml if there is one; else the defaults serve localhost from ./data.
SIGTERM stops in order, SIGHUP reads the configuration again. To administer a running server: hermodctl help
`

const VERBS = ['start', 'check', 'version', 'help']

/** Exit codes of sysexits.h. */
const USAGE = 64
const FAILED = 70
const BAD_CONFIG = 78

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      config: { type: 'string', short: 'c' },
      set: { type: 'string', multiple: true },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean' },
    },
  })
  const [verb, ...more] = positionals
  if (values.version === true || verb === 'version') return say(VERSION)
  if (values.help === true || verb === 'help') return say(HELP)
  if (verb === undefined) return misused('what to do is missing')
  if (!VERBS.includes(verb)) {
    const guess = nearest(verb, VERBS)
    return misused(`there is no "${verb}"${guess === undefined ? '' : `; did you mean ${guess}?`}`)
  }
  if (more.length > 0) return misused(`too many words: ${more.join(' ')}`)
  const source = { file: values.config, sets: values.set ?? [] }
  if (verb === 'start') return runServer(source)
  const { hosts, warnings, certificates } = await check(source)
  for (const line of warnings) console.error(line)
  for (const line of certificates) say(line)
  const count = warnings.length === 1 ? ' (1 warning)' : warnings.length > 1 ? ` (${warnings.length} warnings)` : ''
  return say(`fine: ${hosts.join(', ')}${count}`)
}

function say(text: string): number {
  console.log(text)
  return 0
}

function misused(what: string): number {
  console.error(`${what}\n\n${HELP}`)
  return USAGE
}

/** Says why, and gives the exit code. */
function failed(error: unknown): number {
  const text = error instanceof Error ? error.message : String(error)
  if (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')) {
    return misused(text)
  }
  console.error(text)
  return error instanceof ConfigError ? BAD_CONFIG : FAILED
}

const code = await main().catch(failed)
process.exit(code) // whatever a module left open must not keep a stopped server around
