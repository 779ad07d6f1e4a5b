/** config/test.yml: no limit on rates and numbers is in anybody's way. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { hostOptions, serverOptions } from '../../../src/config/core.ts'
import { loadConfig } from '../../../src/config/load.ts'
import type { Opt, OptionShape } from '../../../src/config/schema.ts'
import { builtinModules } from '../../../src/modules.ts'

const FILE = path.resolve(import.meta.dirname, '../../../config/test.yml')

/** Numbers that are no limits on how much or how often: what a page or a buffer holds, what a picture or stanza is. */
const SHAPES = new Set([
  'max_ack_queue',
  'auth_http.max_requests',
  'mod_avatar.max_pixels',
  'mod_avatar.max_frames',
  'mod_avatar.max_side',
  'mod_mam.max_page',
])

function limits(
  shape: OptionShape,
  values: Record<string, unknown>,
  base = '',
): { name: string; option: Opt<unknown>; value: unknown }[] {
  return Object.entries(shape).flatMap(([key, option]) => {
    const name = `${base}${key}`
    const value = values[key]
    if (option.kind === 'object') return limits(option.fields!, value as Record<string, unknown>, `${name}.`)
    const limit = /^max_|quota/.test(key) && (option.kind === 'int' || option.infinity === true)
    return limit && !SHAPES.has(name) ? [{ name, option, value }] : []
  })
}

test('what can be without limit is, and other numbers are beyond the default', async () => {
  const modules = await builtinModules()
  const { config } = await loadConfig({ file: FILE, env: {}, modules })
  const host = config.perHost.get('localhost')!
  const all = [
    ...limits(serverOptions, config as never),
    ...limits(hostOptions, host as never),
    ...modules.flatMap(({ name, options }) => {
      const values = host.modules[name]
      return values === undefined ? [] : limits(options, values, `${name}.`)
    }),
  ]
  assert.ok(all.length > 30)
  const capped = all.filter(({ option, value }) =>
    option.infinity === true ? value !== Number.POSITIVE_INFINITY : Number(value) <= Number(option.fallback),
  )
  assert.deepEqual(
    capped.map(({ name, value }) => `${name}: ${String(value)}`),
    [],
  )
})

test('admin of the domain administers, whatever the domain is', async () => {
  const { config } = await loadConfig({
    file: FILE,
    env: { HERMOD_DOMAIN: 'a.example' },
    modules: await builtinModules(),
  })
  assert.deepEqual(config.perHost.get('a.example')!.acl['admin']!.user, ['admin@a.example'])
})
