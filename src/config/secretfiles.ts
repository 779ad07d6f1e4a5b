import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { reasonOf } from './checks.ts'
import type { Environment } from './environment.ts'
import type { RawMap, ValidateContext } from './validate.ts'

const LARGEST_SECRET = 65_536

/** Resolves `{env: NAME}` and `{file: PATH}`. Files that others may read are reported through `warn`. */
export function secretReader(env: Environment, warn: (message: string) => void): ValidateContext {
  return {
    secret: (source: RawMap) => {
      const [[kind, where] = [], ...more] = Object.entries(source)
      if (typeof where === 'string' && where !== '' && more.length === 0) {
        if (kind === 'env') return fromEnvironment(where, env)
        if (kind === 'file') return fromFile(path.resolve(where), warn)
      }
      throw new Error('wanted text, {env: NAME} or {file: PATH}, got another mapping')
    },
  }
}

function fromEnvironment(name: string, env: Environment): string {
  const value = env[name]
  if (value === undefined || value === '') throw new Error(`the environment has no ${name}`)
  return value
}

/** The file's text without the line break at its end. */
function fromFile(file: string, warn: (message: string) => void): string {
  let handle: number | undefined
  try {
    handle = openSync(file, 'r')
    const { mode, size } = fstatSync(handle)
    if (size > LARGEST_SECRET) throw new Error('it is larger than 64 KiB')
    if ((mode & 0o004) !== 0) warn(`${file} can be read by everyone on this machine`)
    return readFileSync(handle, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw new Error(
      `cannot read ${file}: ${error instanceof Error && !('code' in error) ? error.message : reasonOf(error)}`,
    )
  } finally {
    if (handle !== undefined) closeSync(handle)
  }
}
