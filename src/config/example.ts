/**
 * The example configuration: every option with its doc and its default, commented out. Lines of an option begin with `#`
 * alone or with `#` and at least two spaces, lines of its doc with `#` and one space: taking the `#` off the former gives
 * a working file.
 */
import { stringify } from 'yaml'
import { hostOptions, serverOptions } from './core.ts'
import type { ModuleSchema, Opt, OptionShape } from './schema.ts'
import { xepNames } from './xeps.ts'

const WIDTH = 110

const HEAD = `
Configuration of hermod. Copy it, and take the # off the options you change: all others are at their defaults.

Generated from the schemas by \`npm run docs\`. Any text may hold \${NAME} or \${NAME:-default}, from the
environment; passwords and keys may also be written {env: NAME} or {file: PATH}. \`hermod check\` says what is
wrong with a file.
`.trim()

/** The text of config/hermod.example.yml. */
export function exampleConfig(modules: readonly ModuleSchema[]): string {
  return [
    ...comment(HEAD),
    ...section('The server', serverOptions),
    ...section('Each host. All of these may differ from host to host: see host_config', hostOptions),
    ...title('Modules'),
    ...comment(
      'Modules run with their defaults unless set to false; those marked optional run only where they are named.',
    ),
    ...optionLines(['modules:', ...indent(modules.flatMap(moduleLines).slice(0, -1), 2)]),
    ...title('Differences between hosts'),
    ...comment('By host: options of “Each host” and modules, laid over what stands above.'),
    ...optionLines(['host_config:', '  localhost:', '    max_user_sessions: 5']),
    '',
  ].join('\n')
}

function title(text: string): string[] {
  return ['', `# ---- ${text} ----`, '']
}

function section(name: string, shape: OptionShape): string[] {
  const options = Object.entries(shape).flatMap(([key, option]) => [
    ...comment(option.doc),
    ...optionLines(lines(key, option)),
    '',
  ])
  return [...title(name), ...options.slice(0, -1)]
}

function moduleLines(module: ModuleSchema): string[] {
  const { name, summary = '', options } = module
  const xeps = xepNames(module)
  const about = `${summary}${xeps ? ` (${xeps})` : ''}${module.optional ? ' Optional.' : ''}`
  return [...comment(about, WIDTH - 4), `${name}:`, ...indent(fieldLines(options), 2), '']
}

/** An option as it would be written, with docs inside it. */
function lines(name: string, option: Opt<unknown>): string[] {
  const shown = option.fallback === undefined || isEmpty(option.fallback) ? option.example : option.fallback
  const { fields } = option
  if (option.kind === 'object' && fields && option.example === undefined) {
    return [`${name}:`, ...indent(fieldLines(fields), 2)]
  }
  const itemFields = option.item?.fields
  if (option.kind === 'list' && itemFields && Array.isArray(shown) && !isEmpty(option.fallback)) {
    const [first, ...more] = shown
    const full = fieldLines(itemFields, first as Record<string, unknown>)
    return [`${name}:`, '  -', ...indent(full, 4), ...indent(yaml(more), 2)]
  }
  const about = Object.entries(itemFields ?? (option.example === undefined ? {} : (fields ?? {})))
  const docs = about.flatMap(([key, field]) => indent(comment(`${key}: ${field.doc}`), 2))
  if (shown === undefined) return [`${name}:`, ...docs]
  return docs.length === 0 ? yaml({ [name]: shown }) : [`${name}:`, ...docs, ...indent(yaml(shown), 2)]
}

function fieldLines(shape: OptionShape, values: Record<string, unknown> = {}): string[] {
  return Object.entries(shape).flatMap(([name, option]) => {
    const written = Object.hasOwn(values, name) ? { ...option, fallback: values[name] } : option
    const absent = written.fallback === undefined && option.kind !== 'object'
    const body = lines(name, written)
    return [...comment(option.doc, WIDTH - 6), ...(absent ? body.map(line => `# ${line}`) : body)]
  })
}

function optionLines(body: readonly string[]): string[] {
  return body.map(line => (line === '' ? '#' : `#${line}`))
}

function indent(body: readonly string[], by: number): string[] {
  return body.map(line => (line === '' ? '' : ' '.repeat(by) + line))
}

function yaml(value: unknown): string[] {
  return stringify(value, { lineWidth: 0 }).trimEnd().split('\n')
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

function comment(text: string, width = WIDTH): string[] {
  return text.split('\n').flatMap(line => wrap(line, width).map(part => `# ${part}`.trimEnd()))
}

function wrap(text: string, width: number): string[] {
  const out = ['']
  for (const word of text.split(' ')) {
    const last = out.at(-1)!
    if (last !== '' && last.length + word.length >= width) out.push(word)
    else out[out.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return out
}
