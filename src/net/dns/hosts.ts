import { readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'
import { asciiName } from './names.ts'

/** Addresses of one name, by family. */
export type Addresses = Readonly<Record<4 | 6, readonly string[]>>

/** The operator's own list of names (hosts(5)): read when it is needed first, and again when it has changed. */
export class HostsFile {
  readonly #path: string
  #stamp: string | undefined
  #names = new Map<string, Record<4 | 6, string[]>>()

  constructor(path: string) {
    this.#path = path
  }

  /** undefined: it says nothing of this name. A file that cannot be read says nothing. */
  async find(name: string): Promise<Addresses | undefined> {
    try {
      const { ino, size, mtimeMs } = await stat(this.#path)
      const stamp = `${ino} ${size} ${mtimeMs}`
      if (stamp !== this.#stamp) {
        this.#names = parse(await readFile(this.#path, 'utf8'))
        this.#stamp = stamp
      }
    } catch {
      this.#stamp = undefined
      this.#names.clear()
    }
    return this.#names.get(name)
  }
}

function parse(text: string): Map<string, Record<4 | 6, string[]>> {
  const found = new Map<string, Record<4 | 6, string[]>>()
  for (const line of text.split('\n')) {
    const [ip = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
    const family = isIP(ip)
    if (family === 0 || ip.includes('%')) continue
    for (const name of names.map(asciiName)) {
      if (name === undefined) continue
      const addresses = found.get(name) ?? { 4: [], 6: [] }
      addresses[family as 4 | 6].push(ip)
      found.set(name, addresses)
    }
  }
  return found
}
