/**
 * Brings gateways for tests in which they attach to hermod as components: `npm run gateways`. biboumi and ngircd come from
 * Debian (in a container, as root, where nothing starts them), slidge from PyPI into `node_modules/.cache`. With
 * `--if-possible` it says so where that cannot be done, and ends well.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { bringPython } from './venv.ts'

const run = promisify(execFile)
const PACKAGES = ['biboumi', 'ngircd']
const SLIDGE = '0.4.2'

/** A gateway to IRC; undefined where it is not. */
export function findBiboumi(): string | undefined {
  return find('/usr/bin/biboumi')
}

/** An IRC server; undefined where it is not. */
export function findNgircd(): string | undefined {
  return find('/usr/sbin/ngircd')
}

function find(program: string): string | undefined {
  return existsSync(program) ? program : undefined
}

/** The Python that has slidge, a framework for gateways. Rejects where it cannot be had. */
export async function bringSlidge(): Promise<string> {
  return path.join(await bringPython('slidge', SLIDGE), 'bin/python')
}

/** Rejects where they cannot be had; the message says why. */
async function bringIrc(): Promise<void> {
  if (process.platform !== 'linux' || !existsSync('/usr/bin/apt-get') || process.getuid?.() !== 0) {
    throw new Error('biboumi and ngircd are brought by apt-get, on Debian, by root')
  }
  if (existsSync('/run/systemd/system')) {
    throw new Error('here they would be started too: install biboumi and ngircd yourself')
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  await run('apt-get', ['update'], { env })
  await run('apt-get', ['install', '--yes', '--no-install-recommends', ...PACKAGES], { env, maxBuffer: 64 << 20 })
}

if (import.meta.main) {
  const failed: unknown[] = []
  if (findBiboumi() === undefined || findNgircd() === undefined) {
    await bringIrc().catch((error: unknown) => failed.push(error))
  }
  await bringSlidge().catch((error: unknown) => failed.push(error))
  for (const error of failed) {
    console.log(`a gateway could not be had: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`)
  }
  if (failed.length > 0 && !process.argv.includes('--if-possible')) process.exitCode = 2
}
