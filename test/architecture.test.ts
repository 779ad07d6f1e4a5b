import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { pluck } from './support/pluck.ts'

const SRC = path.resolve(import.meta.dirname, '../src')
const PACKAGES_FOLDER = path.resolve(import.meta.dirname, '../packages')

/** Who may enter which room: the folders that each folder may import (docs/architecture.md). */
const ROOMS: Record<string, readonly string[]> = {
  util: [],
  xml: ['util'],
  xmpp: ['xml', 'util'],
  config: ['util'],
  storage: ['util', 'config'],
  core: ['xmpp', 'xml', 'util', 'config', 'storage/store', 'storage/blob'],
  net: ['util'],
  auth: ['core', 'net', 'xmpp', 'xml', 'util', 'storage/store'],
  stream: ['core/log', 'net', 'xmpp', 'xml', 'util'],
  c2s: ['core', 'auth', 'stream', 'net', 'xmpp', 'xml', 'util', 'storage/store'],
  s2s: ['core', 'auth', 'stream', 'net', 'xmpp', 'xml', 'util', 'config', 'storage/store'],
  component: ['core', 'auth', 'stream', 'net', 'xmpp', 'xml', 'util', 'config', 'storage/store'],
  http: ['core', 'net', 'xmpp', 'xml', 'util', 'storage/blob'],
  // Engines know no host, no account and no module: rooms and services of any kind are built of them.
  archive: ['core/changes', 'core/chunks', 'core/iq', 'xmpp', 'xml', 'util', 'storage/store'],
  pubsub: ['core/disco', 'core/fanout', 'core/iq', 'core/log', 'core/session', 'xmpp', 'xml', 'util', 'storage/store'],
  modules: [
    'core',
    'archive',
    'pubsub',
    'config/schema',
    'config/access',
    'storage/store',
    'storage/blob',
    'xmpp',
    'xml',
    'util',
    'version',
  ],
  cli: ['.', 'config', 'core', 'storage/folder', 'util'],
}

/** Packages that one room, or one file, alone may name. */
const PACKAGES: Record<string, RegExp> = {
  ltx: /^xml\//,
  '@xmpp/xml': /^xml\//,
  level: /^storage\/level\.ts$/,
  minio: /^storage\/blob-s3\.ts$/,
  sharp: /^modules\/avatar\/images\.ts$/,
  zod: /^config\//,
  yaml: /^config\//,
  jose: /^auth\/jwt\.ts$/,
  'dns-packet': /^net\/dns\/message\.ts$/,
  tr46: /^xmpp\/jid\.ts$/,
  pino: /^core\/log\.ts$/,
  'pino-pretty': /^core\/log\.ts$/,
  'prom-client': /^core\/metrics\.ts$/,
}

/** Packages of the workspace, below `packages`, and what each may name: of hermod only what it exports. */
const WORKSPACES: Record<string, readonly string[]> = {
  'node-xmpp-server-compat': ['hermod/engine', '@xmpp/jid'],
}

const MAX_LINES = 800
const ASK_LINES = 600

interface File {
  /** Below its folder, with slashes. */
  name: string
  text: string
  imports: { from: string; typeOnly: boolean }[]
}

function filesOf(folder: string): File[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map(name => name.split(path.sep).join('/'))
    .map(name => read(folder, name))
}

const files = filesOf(SRC)

function read(folder: string, name: string): File {
  const text = readFileSync(path.join(folder, name), 'utf8')
  const imports = [
    ...text.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^'"\n;]*?|\{[^}]*\})\s*from\s+'([^']+)'/gm),
  ].map(m => ({
    from: m[2]!,
    typeOnly: m[1] !== undefined,
  }))
  for (const m of text.matchAll(/^import\s+'([^']+)'|\bimport\('([^']+)'\)/gm)) {
    imports.push({ from: (m[1] ?? m[2])!, typeOnly: false })
  }
  return { name, text, imports }
}

/** Where an import leads, below src; undefined for a package. */
function target(file: File, from: string): string | undefined {
  return from.startsWith('.') ? path.posix.join(path.posix.dirname(file.name), from) : undefined
}

/** Circles in which files import each other: each with its files, of `typeOnly` imports too where these count. */
function circles(types: boolean): string[][] {
  const arrows = new Map(
    files.map(file => {
      const imports = file.imports.filter(({ typeOnly }) => types || !typeOnly)
      return [file.name, imports.flatMap(({ from }) => target(file, from) ?? [])]
    }),
  )
  // Tarjan: files are in one circle with the lowest one on the stack that they lead back to.
  const found: string[][] = []
  const lowest = new Map<string, number>()
  const stack: string[] = []
  const visit = (name: string): number => {
    const at = lowest.size
    const start = stack.push(name) - 1
    lowest.set(name, at)
    let low = at
    for (const next of arrows.get(name) ?? []) {
      if (!lowest.has(next)) low = Math.min(low, visit(next))
      else if (stack.includes(next)) low = Math.min(low, lowest.get(next)!)
    }
    lowest.set(name, low)
    if (low === at) found.push(stack.splice(start).sort())
    return low
  }
  for (const name of arrows.keys()) if (!lowest.has(name)) visit(name)
  return found.filter(circle => circle.length > 1)
}

const room = (name: string): string => (name.includes('/') ? name.slice(0, name.indexOf('/')) : '.')

describe('the house', () => {
  test('arrows go one way: a folder imports only the folders below it', () => {
    const wrong: string[] = []
    for (const file of files) {
      const allowed = ROOMS[room(file.name)]
      if (allowed === undefined) continue // server.ts and its like, which compose
      for (const { from } of file.imports) {
        const to = target(file, from)
        if (to === undefined || room(to) === room(file.name)) continue
        const fits = allowed.some(a => (a === '.' ? room(to) === '.' : to === `${a}.ts` || to.startsWith(`${a}/`)))
        if (!fits) wrong.push(`${file.name} imports ${to}`)
      }
    }
    assert.deepEqual(wrong, [])
  })

  test('nothing runs in a circle, and types go in one only inside a room', () => {
    assert.deepEqual(circles(false), [])
    assert.deepEqual(
      circles(true).filter(circle => new Set(circle.map(room)).size > 1),
      [],
    )
  })

  test('a module imports no other module', () => {
    const wrong: string[] = []
    for (const file of files.filter(f => f.name.startsWith('modules/'))) {
      const folder = path.posix.dirname(file.name)
      for (const { from } of file.imports) {
        const to = target(file, from)
        if (to === undefined || room(to) !== 'modules') continue
        // Files of one module's own folder may use one another.
        if (folder === 'modules' || !to.startsWith(`${folder}/`)) wrong.push(`${file.name} imports ${to}`)
      }
    }
    assert.deepEqual(wrong, [])
  })

  test('tests share what is in test/support: none looks into the support of unit tests from elsewhere', () => {
    const wrong = filesOf(import.meta.dirname)
      .filter(file => room(file.name) !== 'unit')
      .filter(file => file.imports.some(({ from }) => target(file, from)?.startsWith('unit/')))
    assert.deepEqual(pluck(wrong, 'name'), [])
  })

  test('nobody looks into the memory of somebody else’s account but core/directory.ts', () => {
    // To bind, it is looked whether the account is still the one that was loaded.
    const asking = files.filter(f => /^(modules|archive|pubsub|auth|c2s|core\/commands)\/(?!bind2\.ts)/.test(f.name))
    assert.deepEqual(
      asking.filter(({ text }) => /\.accounts\.get\(/.test(text)).map(({ name }) => name),
      [],
    )
  })

  test('core names no module', () => {
    for (const file of files.filter(f => f.name.startsWith('core/'))) {
      for (const { from } of file.imports) assert.ok(!target(file, from)?.startsWith('modules/'), file.name)
    }
  })

  test('each package is named in one place', () => {
    const wrong: string[] = []
    for (const file of files) {
      for (const { from } of file.imports) {
        const where = PACKAGES[from]
        if (where !== undefined && !where.test(file.name)) wrong.push(`${file.name} imports ${from}`)
      }
    }
    assert.deepEqual(wrong, [])
  })

  test('packages of the workspace stand on what hermod exports', () => {
    const wrong: string[] = []
    for (const [name, allowed] of Object.entries(WORKSPACES)) {
      for (const file of filesOf(path.join(PACKAGES_FOLDER, name, 'src'))) {
        for (const { from } of file.imports) {
          const inside = target(file, from)?.startsWith('..') === false
          if (!inside && !from.startsWith('node:') && !allowed.includes(from))
            wrong.push(`${file.name} imports ${from}`)
        }
      }
    }
    assert.deepEqual(wrong, [])
    assert.deepEqual(readdirSync(PACKAGES_FOLDER).sort(), Object.keys(WORKSPACES).sort())
  })

  test('barrels stand only where they may', () => {
    const barrels = files.filter(f => f.name.endsWith('/index.ts')).map(f => f.name)
    assert.deepEqual(
      barrels.filter(name => name !== 'xml/index.ts'),
      [],
    )
  })

  test('no default exports, no mutable module state', () => {
    const wrong: string[] = []
    for (const file of files) {
      if (/^export default/m.test(file.text)) wrong.push(`${file.name}: default export`)
      if (/^(?:export )?(?:let|var) /m.test(file.text)) wrong.push(`${file.name}: module-level variable`)
      if (/Math\.random/.test(file.text)) wrong.push(`${file.name}: Math.random`)
    }
    assert.deepEqual(wrong, [])
  })

  test('files are of a size to be read', t => {
    for (const file of files) {
      const lines = file.text.split('\n').length
      assert.ok(lines <= MAX_LINES, `${file.name} has ${lines} lines; split it`)
      if (lines > ASK_LINES) t.diagnostic(`${file.name} has ${lines} lines: can it be split?`)
    }
  })
})
