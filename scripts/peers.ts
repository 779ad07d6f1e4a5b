/**
 * Brings ejabberd and Prosody from Debian, for tests in which hermod meets them: `npm run peers`. In a container, as root,
 * they are installed; elsewhere they are unpacked into `node_modules/.cache`, where nothing starts them and nothing of the
 * system changes. With `--if-possible` it says so where neither can be done, and ends well.
 */
import { execFile } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const CACHE = path.resolve(import.meta.dirname, '../node_modules/.cache')
const UNPACKED = path.join(CACHE, 'peers')
/** libnss-wrapper has programs find the addresses of names in a file of ours. */
const PACKAGES = ['ejabberd', 'prosody', 'lua-unbound', 'lua-event', 'libnss-wrapper']

/** How a program of theirs is started. */
export interface Program {
  readonly command: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
}

/** Prosody; undefined where it, or what it asks DNS with, is not. */
export function findProsody(): Program | undefined {
  const script = find('usr/bin/prosody')
  if (script === undefined || find('usr/lib/*/lua/*/lunbound.so') === undefined) return undefined
  const lua = /lua(5\.\d)/.exec(readFileSync(script, 'utf8'))?.[1] ?? '5.4'
  const command = find(`usr/bin/lua${lua}`)
  if (command === undefined) return undefined
  // `;;` stands for the folders of the system.
  const env = {
    LUA_PATH: `${path.join(UNPACKED, `usr/share/lua/${lua}/?.lua`)};;`,
    LUA_CPATH: [...unpacked(`usr/lib/*/lua/${lua}`).map(folder => path.join(folder, '?.so')), ';;'].join(';'),
  }
  return { command, args: [script], env: { ...process.env, ...libraries(), ...env } }
}

/** Erlang with ejabberd in its libraries; undefined where one of them is not. */
export function findEjabberd(): Program | undefined {
  const command = find('usr/lib/erlang/bin/erl')
  const application = find('usr/lib/*/ejabberd-*/ebin/ejabberd.app')
  const wrapper = find('usr/lib/*/libnss_wrapper.so')
  if (command === undefined || application === undefined || wrapper === undefined) return undefined
  const env = {
    ERL_ROOTDIR: path.resolve(command, '../..'),
    ERL_LIBS: [path.resolve(application, '../../..'), ...unpacked('usr/lib/*-linux-gnu*')].join(':'),
    LD_PRELOAD: wrapper,
  }
  return { command, args: [], env: { ...process.env, ...libraries(), ...env } }
}

/** The first that is there, of the system or unpacked. */
function find(pattern: string): string | undefined {
  return ['/', UNPACKED].flatMap(root => globSync(path.join(root, pattern))).at(0)
}

function unpacked(pattern: string): string[] {
  return globSync(path.join(UNPACKED, pattern))
}

function libraries(): NodeJS.ProcessEnv {
  const folders = unpacked('{usr/,}lib/*-linux-gnu*')
  return folders.length === 0 ? {} : { LD_LIBRARY_PATH: folders.join(':') }
}

/** Rejects where they cannot be had; the message says why. */
async function bring(): Promise<void> {
  if (process.platform !== 'linux' || !existsSync('/usr/bin/apt-get'))
    throw new Error('they are brought by apt-get, on Debian')
  const words = ['--yes', '--no-install-recommends']
  if (process.getuid?.() === 0 && !existsSync('/run/systemd/system')) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    await run('apt-get', ['update'], { env })
    await run('apt-get', ['install', ...words, ...PACKAGES], { env, maxBuffer: 64 << 20 })
    return
  }
  const { stdout } = await run('apt-get', ['install', '--simulate', ...words, ...PACKAGES], { maxBuffer: 64 << 20 })
  const missing = [...stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name!)
  await mkdir(CACHE, { recursive: true })
  const undone = await mkdtemp(path.join(CACHE, 'peers-undone-'))
  try {
    const archives = path.join(undone, 'archives')
    await mkdir(archives)
    await run('apt-get', ['download', ...missing], { cwd: archives, maxBuffer: 64 << 20 })
    for (const name of await readdir(archives)) await run('dpkg', ['--extract', path.join(archives, name), undone])
    await rm(archives, { recursive: true })
    await relocate(path.join(undone, 'usr/bin/prosody'))
    await rm(UNPACKED, { recursive: true, force: true })
    await rename(undone, UNPACKED)
  } finally {
    await rm(undone, { recursive: true, force: true })
  }
}

/** Prosody's program has the folders in it where it lies. */
async function relocate(script: string): Promise<void> {
  const text = await readFile(script, 'utf8').catch(() => '')
  if (text !== '') await writeFile(script, text.replaceAll("'/usr/lib/prosody", `'${UNPACKED}/usr/lib/prosody`))
}

if (import.meta.main) {
  try {
    if (findEjabberd() === undefined || findProsody() === undefined) await bring()
    const there = { ejabberd: findEjabberd(), Prosody: findProsody() }
    for (const [name, program] of Object.entries(there)) {
      if (program === undefined) throw new Error(`${name} is not there after it was brought`)
      console.log(`${name}: ${program.command}`)
    }
  } catch (error) {
    console.log(`ejabberd and Prosody could not be had: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = process.argv.includes('--if-possible') ? 0 : 2
  }
}
