#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { ConfigError } from '../config/diagnostics.ts'
import { VERSION } from '../version.ts'
import { readConfig } from './config.ts'
import { runServer } from './run.ts'

const HELP = `hermod ${VERSION}: an XMPP server

  hermod start [--config FILE] [--set path.to.option=value]...   runs in the foreground
  hermod check [--config FILE] [--set path.to.option=value]...   names every mistake in a configuration
  hermod version

Without --config it reads ./hermod.yml if there is one; else the defaults serve localhost from ./data.
SIGTERM stops in order, SIGHUP reads the configuration again. To administer a running server: hermodctl help
`

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
  if (values.version === true || verb === 'version') {
    console.log(VERSION)
    return 0
  }
  if (values.help === true || verb === undefined || more.length > 0 || !['start', 'check'].includes(verb)) {
    console.log(HELP)
    return values.help === true ? 0 : USAGE
  }
  const source = { file: values.config, sets: values.set ?? [] }
  if (verb === 'start') {
    const code = await runServer(source)
    process.exit(code) // whatever a module left open must not keep a stopped server around
  }
  const { config, diagnostics, formatted } = await readConfig(source)
  for (const line of formatted) console.error(line)
  console.log(`fine: ${config.hosts.join(', ')}${diagnostics.length > 0 ? ` (${diagnostics.length} warnings)` : ''}`)
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  const text = error instanceof Error ? error.message : String(error)
  if (error instanceof ConfigError) {
    console.error(text)
    process.exitCode = BAD_CONFIG
  } else if (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')) {
    console.error(`${text}\n\n${HELP}`)
    process.exitCode = USAGE
  } else {
    console.error(text)
    process.exitCode = FAILED
  }
}
