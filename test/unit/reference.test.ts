import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { before, test } from 'node:test'
import { generate, reference } from '../../scripts/docs.ts'
import { sources } from '../../scripts/reference/declared.ts'
import { type Running, running } from '../../scripts/reference/running.ts'
import { builtinModules } from '../../src/modules.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
/** Named in the sources, and not spoken: what clients or rooms speak, what is left out of others, what is gone, what advises. */
const NAMED = [16, 33, 45, 80, 85, 91, 124, 205, 360, 373, 384]

let pages: ReadonlyMap<string, string>
let server: Running

before(async () => {
  const modules = await builtinModules()
  server = await running(modules)
  pages = new Map([...generate(modules), ...reference(modules, server)])
})

/** The cells of each row of the table of a page, by the heads of their columns. */
function rowsOf(name: string): Record<string, string>[] {
  const lines = pages.get(`docs/reference/${name}.md`)!.match(/^\|.*$/gm)!
  const [head, , ...rows] = lines.map(line => line.split(/(?<!\\)\|/).map(cell => cell.trim()))
  return rows.map(cells => Object.fromEntries(head!.map((name, at) => [name, cells[at]!])))
}

const without = (page: string, column: string, wanted: RegExp): string[] =>
  rowsOf(page).flatMap(row => (wanted.test(row[column]!) ? [] : [Object.values(row)[1]!]))

test('every hook says when it is run, and is run', () => {
  assert.deepEqual(without('hooks', 'When', /\.$/), [])
  assert.deepEqual(without('hooks', 'Run by', /^\[/), [])
  const hooks = new Set(rowsOf('hooks').map(row => row['Hook']))
  for (const { hook } of server.hooks) assert.ok(hooks.has(`\`${hook}\``), hook)
})

test('every service, command, argument and metric says what it is', () => {
  assert.deepEqual(without('services', 'What it is', /\.$/), [])
  assert.deepEqual(without('commands', 'What it does', /\.$/), [])
  assert.deepEqual(without('metrics', 'Meaning', /./), [])
  for (const { name, args } of server.commands) {
    for (const [arg, { doc }] of Object.entries(args)) assert.notEqual(doc, '', `${name} ${arg}`)
  }
})

test('every extension that the sources name stands in the index, with its name and version', () => {
  assert.deepEqual(without('xeps', 'Name', /./), [])
  assert.deepEqual(without('xeps', 'Version', /^\d+\.\d/), [])
  assert.deepEqual(without('xeps', 'Left out', /^$|\.$/), [])
  const index = pages.get('docs/reference/xeps.md')!
  const named = new Set(sources().flatMap(({ text }) => text.match(/XEP-\d{4}/g) ?? []))
  const missing = [...named].filter(xep => !index.includes(`[${xep}]`)).sort()
  assert.deepEqual(
    missing,
    NAMED.map(number => `XEP-${String(number).padStart(4, '0')}`),
  )
})

test('every link of the pages leads to a file', () => {
  for (const [file, text] of pages) {
    for (const [, to] of text.matchAll(/\]\(([^)#]+)\)/g)) {
      if (/^https?:/.test(to!)) continue
      assert.ok(existsSync(path.resolve(ROOT, path.dirname(file), to!)), `${file}: ${to}`)
    }
  }
})
