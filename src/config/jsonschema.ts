/** The JSON Schema of configuration files, for editors that complete and check while one types. */

import { hostOptions, serverOptions } from './core.ts'
import { zod } from './libraries.ts'
import type { ModuleSchema, Opt, OptionShape } from './schema.ts'

type JsonSchema = { [keyword: string]: unknown }

const NOTHING: JsonSchema = { type: 'null' }
const TEXT: JsonSchema = { type: 'string' }
/** Any value may come from the environment. */
const REFERENCE: JsonSchema = { type: 'string', pattern: '\\$\\{' }
const SECRET: JsonSchema = {
  anyOf: [TEXT, fields({ env: TEXT }, ['env']), fields({ file: TEXT }, ['file'])],
}

/** JSON Schema (draft 2020-12) of the whole file. Modules that are not among these may be named, with any options. */
export function configJsonSchema(modules: readonly ModuleSchema[]): JsonSchema {
  const moduleMap: JsonSchema = {
    description: 'Modules, by name: options, nothing for the defaults, or false to switch one off.',
    anyOf: [
      NOTHING,
      { ...fields(Object.fromEntries(modules.map(m => [m.name, ofModule(m)]))), additionalProperties: true },
    ],
  }
  const { properties: perHost } = ofShape(hostOptions, false)
  const overlay = fields({ ...(perHost as JsonSchema), modules: moduleMap })
  const { properties: server, required } = ofShape({ ...serverOptions, ...hostOptions })
  const overlays: JsonSchema = {
    description: 'What differs from host to host, by host.',
    anyOf: [NOTHING, { type: 'object', additionalProperties: { anyOf: [NOTHING, overlay] } }],
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'hermod configuration',
    ...fields(
      { ...(server as JsonSchema), modules: moduleMap, host_config: overlays },
      required as string[] | undefined,
    ),
  }
}

function ofModule({ summary, options }: ModuleSchema): JsonSchema {
  return { description: summary, anyOf: [NOTHING, { type: 'boolean', enum: [false] }, ofShape(options)] }
}

function ofShape(shape: OptionShape, complete = true): JsonSchema {
  const entries = Object.entries(shape)
  const required = complete ? entries.filter(([, option]) => option.required).map(([name]) => name) : []
  return fields(Object.fromEntries(entries.map(([name, option]) => [name, ofOption(option)])), required)
}

function fields(properties: JsonSchema, required: readonly string[] = []): JsonSchema {
  return { type: 'object', properties, ...(required.length > 0 ? { required } : {}), additionalProperties: false }
}

function ofOption(option: Opt<unknown>): JsonSchema {
  return {
    ...(option.doc === '' ? {} : { description: option.doc }),
    ...(option.fallback === undefined ? {} : { default: option.fallback }),
    ...ofValue(option),
  }
}

function ofValue(option: Opt<unknown>): JsonSchema {
  switch (option.kind) {
    case 'object':
      return { anyOf: [ofShape(option.fields!), ...(option.short ? [TEXT] : []), NOTHING] }
    case 'map':
      return { anyOf: [{ type: 'object', additionalProperties: ofOption(option.item!) }, NOTHING] }
    case 'list': {
      const item = ofOption(option.item!)
      return { anyOf: [{ type: 'array', items: item }, item, NOTHING] }
    }
    case 'secret':
      return SECRET
    default:
      return { anyOf: [ofLeaf(option), REFERENCE] }
  }
}

/** Checks that JSON Schema cannot say are left out: loading makes them. */
function ofLeaf(option: Opt<unknown>): JsonSchema {
  const { $schema: _, ...schema } = zod().toJSONSchema(option.build([]), { unrepresentable: 'any' }) as JsonSchema
  // Editors read patterns without the flags they need; loading has the last word.
  delete schema['pattern']
  return schema
}
