/** docs/guide/limits.md is true: each bound that it names is driven there, and what it says of options is so. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { hostOptions, listenOptions, serverOptions } from '../../src/config/core.ts'
import type { OptionShape } from '../../src/config/schema.ts'
import type { Bound, Bounds, Proof } from '../support/bounds/bound.ts'
import { builtins } from '../support/testserver.ts'

const TEST = path.resolve(import.meta.dirname, '..')
const FOLDER = path.join(TEST, 'support/bounds')
const PAGE = path.resolve(TEST, '../docs/guide/limits.md')

interface Line {
  what: string
  number: string
  bytes: string
  then: string
}

function page(): Line[] {
  const rows = readFileSync(PAGE, 'utf8')
    .split('\n')
    .filter(line => line.startsWith('| '))
    .slice(1)
  return rows.map(row => {
    const cells = row.slice(1, -1).split('|')
    assert.equal(cells.length, 4, row)
    const [what, number, bytes, then] = cells.map(cell => cell.trim()) as [string, string, string, string]
    return { what, number, bytes, then }
  })
}

async function table() {
  const files = readdirSync(FOLDER).filter(name => name !== 'bound.ts')
  const all = await Promise.all(
    files.map(async name => ((await import(path.join(FOLDER, name))) as { BOUNDS: Bounds }).BOUNDS),
  )
  return all.flatMap(Object.entries<Bound | Proof>).map(([what, proof]) => {
    const { number, bytes }: Bound = typeof proof === 'object' ? proof : { number: proof, bytes: proof }
    return { what, number, bytes }
  })
}

/** Options by the names that the page gives them: those of modules with the module's name, of groups with the group's. */
async function options(): Promise<Map<string, OptionShape[string]>> {
  const found = new Map<string, OptionShape[string]>()
  const add = (shape: OptionShape, prefix: string): void => {
    for (const [name, option] of Object.entries(shape)) {
      found.set(prefix + name, option)
      if (option.fields !== undefined) add(option.fields, `${prefix}${name}.`)
    }
  }
  for (const shape of [listenOptions, hostOptions, serverOptions]) add(shape, '')
  for (const [name, definition] of await builtins()) add(definition.options, `${name}.`)
  return found
}

const bounds = await table()

describe('docs/guide/limits.md and the table of bounds', () => {
  test('name the same', () => {
    const names = page().map(({ what }) => what)
    assert.deepEqual(names.toSorted(), bounds.map(({ what }) => what).sort())
  })

  test('each bound has what shows it, in number and in bytes', () => {
    for (const { what, number, bytes, then } of page()) {
      const bound = bounds.find(one => one.what === what)
      assert.notEqual(then, '?', what)
      assert.ok(number !== '–' || bytes !== '–', what)
      assert.match(bytes, /^(?!\?)./, what)
      if (bound === undefined) continue
      assert.equal(bound.number === undefined, number === '–', `${what}: the number`)
      assert.equal(bound.bytes === undefined, bytes === '–', `${what}: the bytes`)
      assert.ok(bound.bytes !== 'each' || bound.number !== undefined, what)
    }
  })

  test('options are there, and have the defaults that it tells of', async () => {
    const all = await options()
    for (const { number, bytes } of page()) {
      for (const [, name, value] of `${number} ${bytes}`.matchAll(
        /`([a-z_]+\.[a-z_]+|max_[a-z_]+)`(?: \(([^)]+)\))?/g,
      )) {
        const option = all.get(name!) ?? [...all].find(([full]) => full.endsWith(`.${name}`))?.[1]
        assert.ok(option, `there is no option ${name}`)
        if (value !== undefined) assert.equal(value, String(option.fallback), name)
      }
    }
  })

  test('what shows a bound elsewhere is there', () => {
    const files = readdirSync(TEST, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.test.ts'))
    const tests = files.map(name => readFileSync(path.join(TEST, name), 'utf8')).join('')
    for (const { what, number, bytes } of bounds) {
      for (const proof of [number, bytes]) {
        if (typeof proof !== 'string' || proof === 'each') continue
        assert.ok(tests.includes(`test('${proof}'`), `${what}: there is no test "${proof}"`)
      }
    }
  })
})

describe('at its bound', () => {
  for (const { what, number, bytes } of bounds) {
    const drives = new Set([number, bytes].filter((proof: Proof | 'each' | undefined) => typeof proof === 'function'))
    for (const drive of drives) test(what, t => drive(t))
  }
})
