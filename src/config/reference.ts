/** Reference pages of the configuration, in Markdown. */
import { stringify } from 'yaml'
import { hostOptions, serverOptions } from './core.ts'
import type { ModuleSchema, Opt, OptionShape } from './schema.ts'
import { xepName, xepNames, xepsOf } from './xeps.ts'

const GENERATED = '<!-- Generated from the schemas by `npm run docs`: do not edit. -->'

const INTRODUCTION = `
hermod reads one YAML file: \`hermod start --config FILE\`. Without one, everything is at its default. Every option can also be
set on the command line, as often as needed: \`--set path.to.option=value\`, \`--set listen.0.port=5300\`. \`hermod check\` says
everything that is wrong with a file, each with its line, and opens no port. \`config/hermod.example.yml\` has every option
with its default; \`config.schema.json\` beside this page lets editors complete and check.

- Any text may hold \`\${NAME}\` or \`\${NAME:-default}\`, taken from the environment. An option that is nothing but a reference that
  comes out empty is as if not written. A literal \`\${\` is written \`$\${\`.
- Secrets may be written \`{env: NAME}\` or \`{file: PATH}\`. They are never printed.
- Durations: \`30s\`, \`5m\`, \`1h 30m\`, \`7d\`. Sizes: \`4096\`, \`256 KiB\`, \`10 MB\`. \`infinity\` where it says so.
- A list of one item may be written as the item.
- Paths are relative to the folder that the server is started in.
`.trim()

const MODULES = `
Under \`modules\`, by name. Every module runs with its defaults, unless it is set to \`false\`; those marked optional run only where they
are named. A name may also be an npm package or the path of a file that exports a module.
`.trim()

const HOST_CONFIG = `
Under \`host_config\`, by host: any option of “Each host”, and \`modules\`. Groups and names are merged with what stands at the top
level (\`auth\`, \`acl\`, \`access_rules\`, each module's options); anything else replaces it.
`.trim()

/** docs/reference/config.md */
export function configReference(modules: readonly ModuleSchema[]): string {
  const rows = modules.map(m => [
    `[${m.name}](modules/${m.name}.md)`,
    xepNames(m),
    m.optional ? 'optional' : '',
    m.summary ?? '',
  ])
  return page('Configuration', [
    INTRODUCTION,
    '## The server',
    optionTable(serverOptions),
    '## Each host',
    'At the top level these hold for every host.',
    optionTable(hostOptions),
    '## Modules',
    MODULES,
    table(['Module', 'XEP', '', 'What it does'], rows),
    '## Differences between hosts',
    HOST_CONFIG,
    fence({ host_config: { 'example.org': { max_user_sessions: 5, modules: { mod_last: false } } } }),
  ])
}

/** docs/reference/modules/NAME.md */
export function moduleReference(module: ModuleSchema): string {
  const xeps = xepsOf(module).map(xep => {
    const url = `https://xmpp.org/extensions/${xepName(xep).toLowerCase()}.html`
    const detail = [xep.name, xep.version && `version ${xep.version}`].filter(Boolean).join(', ')
    return `- [${xepName(xep)}](${url})${detail ? `: ${detail}` : ''}`
  })
  const options = Object.keys(module.options).length > 0
  return page(module.name, [
    module.summary ?? '',
    module.optional
      ? 'Optional: it runs only where the configuration names it.'
      : `Runs unless the configuration says \`${module.name}: false\`.`,
    ...(xeps.length > 0 ? ['## Implements', xeps.join('\n')] : []),
    '## Options',
    options ? optionTable(module.options) : 'None.',
    fence({ modules: { [module.name]: defaultsOf(module.options) } }),
  ])
}

function page(name: string, blocks: readonly string[]): string {
  return `${[`# ${name}`, GENERATED, ...blocks].filter(block => block !== '').join('\n\n')}\n`
}

function fence(value: unknown): string {
  return `\`\`\`yaml\n${stringify(value, { lineWidth: 0 }).replaceAll(' {}', '')}\`\`\``
}

function defaultsOf(shape: OptionShape): Record<string, unknown> {
  const shown = Object.entries(shape).map(([name, { fallback, example }]) => [name, fallback ?? example] as const)
  return Object.fromEntries(shown.filter(([, value]) => value !== undefined))
}

function optionTable(shape: OptionShape): string {
  const rows = Object.entries(shape).flatMap(([name, option]) => rowsOf(name, option))
  return table(['Option', 'Wanted', 'Default', 'Meaning'], rows)
}

/** The row of an option and those of what is below it. */
function rowsOf(name: string, option: Opt<unknown>): string[][] {
  const example = option.example === undefined ? '' : ` For example \`${inline(option.example)}\`.`
  const row = [`\`${name}\``, wanted(option), written(option), option.doc + example]
  const below = option.fields
    ? { prefix: `${name}.`, fields: option.fields }
    : { prefix: name + (option.kind === 'map' ? '.NAME' : ''), fields: undefined }
  if (below.fields)
    return [row, ...Object.entries(below.fields).flatMap(([key, field]) => rowsOf(below.prefix + key, field))]
  return [row, ...itemRows(below.prefix, option)]
}

function itemRows(prefix: string, option: Opt<unknown>): string[][] {
  const { item } = option
  if (!item) return []
  const here = option.kind === 'list' ? `${prefix}[]` : prefix
  if (!item.fields) return itemRows(here, item)
  return Object.entries(item.fields).flatMap(([key, field]) => rowsOf(`${here}.${key}`, field))
}

function wanted(option: Opt<unknown>): string {
  if (option.kind === 'object') return 'options'
  if (option.kind === 'map') return `names, each with ${option.item ? wanted(option.item) : 'a value'}`
  if (option.kind === 'list') return `a list of ${option.item ? wanted(option.item) : 'values'}`
  return option.values ? option.values.map(value => `\`${value}\``).join(', ') : option.words
}

function written(option: Opt<unknown>): string {
  if (option.required) return 'must be given'
  if (option.kind === 'object' || option.fallback === undefined) return ''
  return `\`${inline(option.fallback)}\``
}

/** In one line, as YAML would have it between braces. */
function inline(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0, flowCollectionPadding: false }).trim()
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map(cell => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
