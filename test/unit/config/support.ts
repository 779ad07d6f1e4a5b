import assert from 'node:assert/strict'
import { ConfigError, formatDiagnostic } from '../../../src/config/diagnostics.ts'
import { type Loaded, type LoadOptions, loadConfig } from '../../../src/config/load.ts'
import { type ModuleSchema, opt } from '../../../src/config/schema.ts'

/** A few modules that have one option of each kind that matters to loading. */
export const MODULES: readonly ModuleSchema[] = [
  {
    name: 'mod_last',
    summary: 'Tells when a user was last online.',
    xep: { number: 12, version: '2.0', name: 'Last Activity' },
    options: { privacy: opt.oneOf(['everyone', 'contacts', 'nobody'], 'contacts', 'Who is told.') },
  },
  {
    name: 'mod_register',
    summary: 'Registers accounts.',
    optional: true,
    options: {
      access: opt.access('all', 'Who may register.'),
      interval: opt.duration('10m', 'Time between two.', { infinity: true }),
      password: opt.secret('A password.'),
      welcome: opt.object({ subject: opt.text('', 'Subject.'), body: opt.text(undefined, 'Body.') }, 'A message.'),
    },
  },
]

export type Options = Partial<LoadOptions<ModuleSchema>>

/** Loads a text as `test.yml`, with {@link MODULES} and an empty environment. */
export function load(text: string, options: Options = {}): Promise<Loaded<ModuleSchema>> {
  return loadConfig({ file: 'test.yml', text, env: {}, modules: MODULES, ...options })
}

/** The errors of a text that must not load, one line each. */
export async function errorsOf(text: string, options: Options = {}): Promise<string[]> {
  try {
    await load(text, options)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.diagnostics.map(formatDiagnostic)
  }
  return assert.fail('the configuration was taken')
}
