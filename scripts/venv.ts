/** Brings a package of PyPI, with what it needs, into node_modules/.cache: clients and servers in Python that tests run against. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const CACHE = path.resolve(import.meta.dirname, '../node_modules/.cache')

/** The folder of a Python environment that has it, and `more` packages (`name==version`). Rejects where it cannot be had: no Python with `venv`, or no way to PyPI. */
export async function bringPython(name: string, version: string, ...more: readonly string[]): Promise<string> {
  const packages = [`${name}==${version}`, ...more]
  const home = path.join(CACHE, [name, version, ...more].join('-'))
  if (existsSync(home)) return home
  await mkdir(CACHE, { recursive: true })
  const undone = await mkdtemp(path.join(CACHE, `${name}-undone-`))
  try {
    await run('python3', ['-m', 'venv', undone])
    const pip = path.join(undone, 'bin/python')
    await run(pip, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages])
    // Where two bring it at once, the second finds the first one's.
    await rename(undone, home).catch((error: unknown) => {
      if (!existsSync(home)) throw error
    })
    return home
  } finally {
    await rm(undone, { recursive: true, force: true })
  }
}
