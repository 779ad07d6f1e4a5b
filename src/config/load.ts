/** From a YAML file, `--set`s and the environment to a checked {@link Config}. Opens no ports and writes nothing. */
import { readFile } from 'node:fs/promises'
import { checkHost, checkHosts, checkListen, checkS2S, reasonOf, textsOf } from './checks.ts'
import {
  type Config,
  type HostConfig,
  hostOptions,
  type ListenConfig,
  type ModuleConfigs,
  serverOptions,
} from './core.ts'
import {
  ConfigError,
  type Diagnostic,
  describe,
  type OptionError,
  type OptionPath,
  type Problem,
} from './diagnostics.ts'
import type { Environment } from './environment.ts'
import { nearest } from './nearest.ts'
import { danglingReferences, type Scope, scopeOf } from './references.ts'
import type { ModuleSchema, Opt } from './schema.ts'
import { secretReader } from './secretfiles.ts'
import { type AppliedSet, applySet, setBehind } from './sets.ts'
import { readSource, type Source } from './source.ts'
import { isMap, optionAt, type RawMap, type ValidateContext, validate } from './validate.ts'

export interface LoadOptions<M extends ModuleSchema> {
  /** Path of a YAML file. Without, the defaults are the base. */
  readonly file?: string
  /** The file's text, where it is not to be read from the disk; `file` is then its name in messages. */
  readonly text?: string
  /** `path.to.option=value` each, applied in order. */
  readonly sets?: readonly string[]
  /** Default: the process's. */
  readonly env?: Environment
  /** The modules that the server comes with. Those that are not `optional` run unless the configuration says `false`. */
  readonly modules: readonly M[]
  /** Finds a module that it does not come with, by package name or path. May reject, saying why. */
  readonly loadModule?: (name: string) => Promise<M | undefined>
}

export interface Loaded<M extends ModuleSchema> {
  readonly config: Config
  /** Of every module that some host runs. */
  readonly modules: ReadonlyMap<string, M>
  /** Warnings: errors are thrown. */
  readonly diagnostics: readonly Diagnostic[]
  /** Of what turned out to be wrong later: the same with its place in the file. */
  readonly located: (error: OptionError) => ConfigError
}

const ALL_OPTIONS = { ...serverOptions, ...hostOptions }
const HOST_NAMES = Object.keys(hostOptions)

/** Throws a {@link ConfigError} with every error that was found. */
export async function loadConfig<M extends ModuleSchema>(options: LoadOptions<M>): Promise<Loaded<M>> {
  const env = options.env ?? process.env
  const name = options.file ?? 'configuration'
  const source = readSource(await readText(options, name), name, env)
  if (source.problems.length > 0) throw new ConfigError(source.problems)
  return new Loader(options, source, env).load()
}

async function readText({ file, text }: LoadOptions<ModuleSchema>, name: string): Promise<string> {
  if (text !== undefined) return text
  if (file === undefined) return ''
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const message = `cannot be read: ${reasonOf(error)}`
    throw new ConfigError([{ severity: 'error', source: name, path: '', message }])
  }
}

class Loader<M extends ModuleSchema> {
  readonly #options: LoadOptions<M>
  readonly #source: Source
  readonly #env: Environment
  readonly #context: ValidateContext
  readonly #sets: AppliedSet[] = []
  readonly #errors: Diagnostic[] = []
  readonly #warnings = new Map<string, Diagnostic>()
  readonly #schemas: Map<string, M>
  /** Modules that could not be found, so as to say it once for each. */
  readonly #missing = new Map<string, string>()

  constructor(options: LoadOptions<M>, source: Source, env: Environment) {
    this.#options = options
    this.#source = source
    this.#env = env
    this.#schemas = new Map(options.modules.map(schema => [schema.name, schema]))
    this.#context = secretReader(env, message => {
      this.#warnings.set(message, { severity: 'warning', source: options.file ?? 'configuration', path: '', message })
    })
  }

  async load(): Promise<Loaded<M>> {
    const raw = this.#root()
    this.#applySets(raw)
    const { modules: rawModules, host_config: rawOverlays, ...rest } = raw

    const { value, problems } = validate(ALL_OPTIONS, rest, this.#context, { alsoKnown: ['modules', 'host_config'] })
    this.#fail(problems)
    const scope = scopeOf(rest)
    this.#fail(checkHosts(value['hosts']))
    this.#fail(checkListen(value['listen'], value['hosts']))
    this.#fail(checkS2S(value['s2s']))
    this.#fail(checkHost(value, []))
    this.#fail(danglingReferences(ALL_OPTIONS, value, [], scope))

    const standard = this.#options.modules.filter(schema => schema.optional !== true)
    const modules: RawMap = {
      ...Object.fromEntries(standard.map(schema => [schema.name, {}])),
      ...this.#map(rawModules, ['modules']),
    }
    const overlays = this.#map(rawOverlays, ['host_config']) ?? {}
    await this.#findModules(modules, overlays)
    const parsed = this.#modules(modules, ['modules'], scope)
    for (const [host, overlay] of Object.entries(overlays)) this.#checkOverlay(host, overlay, rest, value['hosts'])
    this.#throwIfWrong()

    const perHost = new Map<string, HostConfig>()
    for (const host of textsOf(value['hosts'])) {
      const overlay = overlays[host]
      const config = isMap(overlay)
        ? this.#overlaid(host, rest, modules, overlay)
        : { ...pickHost(value), modules: parsed }
      perHost.set(host, { ...config, host } as HostConfig)
    }
    this.#throwIfWrong()
    const { listen, ...server } = pickServer(value) as unknown as Omit<Config, 'perHost'>
    const opened = listen.filter(isOpened)
    const config: Config = { ...server, listen: opened, perHost }
    const located = ({ path, message }: OptionError) => {
      const [option, index, ...below] = path
      const written = option === 'listen' && typeof index === 'number' ? listen.indexOf(opened[index]!) : index
      const asWritten = written === undefined ? path : [option!, written, ...below]
      return new ConfigError([this.#located({ path: asWritten, message })])
    }
    const names = new Set([...perHost.values()].flatMap(host => Object.keys(host.modules)))
    const used = new Map([...names].map(name => [name, this.#schemas.get(name)!]))
    return { config, modules: used, diagnostics: [...this.#warnings.values()], located }
  }

  #root(): RawMap {
    const value = this.#source.value ?? {}
    if (isMap(value)) return { ...value }
    this.#fail([{ path: [], message: `wanted options, each with a colon after its name, got ${describe(value)}` }])
    return {}
  }

  #applySets(raw: RawMap): void {
    const known = this.#options.modules.map(schema => schema.name)
    const context = {
      env: this.#env,
      optionAt: (path: OptionPath) => this.#optionAt(path),
      namesBelow: (path: OptionPath) => namesBelow(raw, path, known),
    }
    for (const text of this.#options.sets ?? []) {
      const applied = applySet(raw, text, context)
      if ('severity' in applied) this.#errors.push(applied)
      else this.#sets.push(applied)
    }
  }

  #optionAt(path: OptionPath): Opt<unknown> | undefined {
    const [first, second, ...below] = path
    if (first === 'host_config') {
      return below[0] === 'modules' ? this.#optionAt(below) : optionAt(hostOptions, below)
    }
    if (first !== 'modules') return optionAt(ALL_OPTIONS, path)
    return optionAt(this.#schemas.get(String(second))?.options ?? {}, below)
  }

  /** What stands at a path, if it is a mapping; nothing is an empty one, and undefined is undefined. */
  #map(value: unknown, path: OptionPath): RawMap | undefined {
    if (value === undefined || isMap(value)) return value
    if (value !== null) this.#fail([{ path, message: `wanted names with options below, got ${describe(value)}` }])
    return {}
  }

  async #findModules(modules: RawMap, overlays: RawMap): Promise<void> {
    const names = new Set(Object.keys(modules))
    for (const overlay of Object.values(overlays)) {
      if (isMap(overlay) && isMap(overlay['modules']))
        for (const name of Object.keys(overlay['modules'])) names.add(name)
    }
    for (const name of names) {
      if (this.#schemas.has(name)) continue
      try {
        const schema = await this.#options.loadModule?.(name)
        if (schema) this.#schemas.set(name, schema)
        else this.#missing.set(name, 'is not a module')
      } catch (error) {
        this.#missing.set(name, `cannot be loaded: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
  }

  /** The options of each module that is not switched off. */
  #modules(raw: RawMap, base: OptionPath, scope: Scope, partial = false): ModuleConfigs {
    const out: { [name: string]: RawMap } = {}
    for (const [name, value] of Object.entries(raw)) {
      const path = [...base, name]
      const schema = this.#schemas.get(name)
      if (!schema) {
        const message = this.#missing.get(name) ?? 'is not a module'
        this.#fail([{ path, atKey: true, message, nearest: nearest(name, this.#schemas.keys()) }])
      } else if (value !== false) {
        if (!isMap(value ?? {})) {
          this.#fail([{ path, message: `wanted options, or false to switch it off, got ${describe(value)}` }])
          continue
        }
        const result = validate(schema.options, (value ?? {}) as RawMap, this.#context, { base: path, partial })
        this.#fail(result.problems)
        this.#fail(danglingReferences(schema.options, result.value, path, scope))
        out[name] = result.value
      }
    }
    return out
  }

  #checkOverlay(host: string, raw: unknown, top: RawMap, written: unknown): void {
    const base = ['host_config', host]
    const hosts = textsOf(written)
    if (!hosts.includes(host)) {
      this.#fail([{ path: base, atKey: true, message: 'is not one of the hosts', nearest: nearest(host, hosts) }])
    }
    const overlay = this.#map(raw, base) ?? {}
    const { modules, ...rest } = overlay
    const misplaced = Object.keys(rest).filter(name => Object.hasOwn(serverOptions, name))
    this.#fail(
      misplaced.map(name => ({ path: [...base, name], atKey: true, message: 'is an option of the whole server' })),
    )
    const own = Object.fromEntries(Object.entries(rest).filter(([name]) => !misplaced.includes(name)))
    const frame = { base, partial: true, alsoKnown: ['modules'] }
    const { value, problems } = validate(hostOptions, own, this.#context, frame)
    const scope = scopeOf(top, own)
    this.#fail(problems)
    this.#fail(checkHost(value, base))
    this.#fail(danglingReferences(hostOptions, value, base, scope))
    const path = [...base, 'modules']
    this.#modules(this.#map(modules, path) ?? {}, path, scope, true)
  }

  /** The top level with an overlay that was found right. */
  #overlaid(host: string, top: RawMap, topModules: RawMap, overlay: RawMap): RawMap {
    const base = ['host_config', host]
    const { modules, ...own } = overlay
    const merged = merge(pickHost(top), own)
    const { value, problems } = validate(hostOptions, merged, this.#context, { base })
    this.#fail(problems)
    const scope = scopeOf(merged)
    return { ...value, modules: this.#modules(mergeModules(topModules, modules), [...base, 'modules'], scope) }
  }

  #fail(problems: readonly Problem[]): void {
    for (const problem of problems) {
      const located = this.#located(problem)
      if (!this.#errors.some(error => error.path === located.path)) this.#errors.push(located)
    }
  }

  #located(problem: Problem): Diagnostic {
    const located = this.#source.locate(problem)
    const { source } = setBehind(this.#sets, problem.path, this.#source) ?? {}
    return source === undefined ? located : { ...located, source, line: undefined, column: undefined }
  }

  #throwIfWrong(): void {
    if (this.#errors.length === 0) return
    const order = (d: Diagnostic) => (d.line ?? Number.MAX_SAFE_INTEGER) * 10_000 + (d.column ?? 0)
    throw new ConfigError([...this.#errors].sort((a, b) => order(a) - order(b)))
  }
}

function namesBelow(raw: RawMap, path: OptionPath, modules: readonly string[]): string[] {
  const at = path.reduce<unknown>((value, part) => (isMap(value) ? value[part] : undefined), raw)
  const there = isMap(at) ? Object.keys(at) : []
  if (path.at(-1) === 'modules' && (path.length === 1 || path[0] === 'host_config')) return [...there, ...modules]
  if (path.length === 1 && path[0] === 'host_config') {
    return [...there, ...[raw['hosts'] ?? []].flat().filter(host => typeof host === 'string')]
  }
  return there
}

/** Others have to know the ports of servers and components: 0 is none there, not any that is free. */
function isOpened({ module, port }: ListenConfig): boolean {
  return port !== 0 || module === 'c2s' || module === 'http'
}

function pickHost(value: RawMap): RawMap {
  return Object.fromEntries(Object.entries(value).filter(([name]) => HOST_NAMES.includes(name)))
}

function pickServer(value: RawMap): RawMap {
  return Object.fromEntries(Object.entries(value).filter(([name]) => Object.hasOwn(serverOptions, name)))
}

/** Maps and groups of options are merged name by name; anything else of the overlay replaces what is below. */
function merge(below: RawMap, above: RawMap): RawMap {
  const out = { ...below }
  for (const [name, value] of Object.entries(above)) {
    const under = out[name]
    out[name] = isMap(under) && isMap(value) ? { ...under, ...value } : (value ?? under)
  }
  return out
}

function mergeModules(below: RawMap, above: unknown): RawMap {
  if (!isMap(above)) return below
  const out = { ...below }
  for (const [name, value] of Object.entries(above)) {
    out[name] = value === false ? false : { ...(out[name] as RawMap | null), ...(value as RawMap | null) }
  }
  return out
}
