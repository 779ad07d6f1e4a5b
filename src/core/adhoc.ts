import { cut } from '../util/text.ts'
import { type Element, NS, xml } from '../xml/index.ts'
import { type StanzaCondition, StanzaError } from '../xmpp/errors.ts'
import { dataForm, type FormField, type FormHead } from '../xmpp/forms.ts'
import type { Jid } from '../xmpp/jid.ts'
import { CommandError, type CommandResult } from './commands/command.ts'
import type { Commands } from './commands/commands.ts'
import type { Given } from './commands/read.ts'

/** What is said in passing with a stage or a result (XEP-0050 3.4). */
export interface AdHocNote {
  readonly type: 'info' | 'warn' | 'error'
  readonly text: string
}

/** A form to fill out; what comes of it is the next stage, or the end. */
export interface AdHocStage {
  /** `<x xmlns='jabber:x:data' type='form'/>` */
  readonly form: Element
  /** Submitting it completes the command; otherwise more stages may follow. */
  readonly last: boolean
  readonly notes?: readonly AdHocNote[]
  /** Values by `var`. A StanzaError is answered as `failureOf` says. */
  submit(values: FormAnswers): AdHocAnswer | Promise<AdHocAnswer>
}

/** The end of a command. */
export interface AdHocDone {
  readonly payload?: Element
  readonly notes?: readonly AdHocNote[]
}

export type AdHocAnswer = AdHocStage | AdHocDone

export interface AdHocCommand {
  /** Unique within the host. */
  readonly node: string
  /** What people choose it by. */
  readonly name: string
  /** Who may see and run it; asked again at every stage. */
  allowed(from: Jid): boolean
  /** Runs it, or gives its first stage. A StanzaError is answered as `failureOf` says. */
  execute(from: Jid): AdHocAnswer | Promise<AdHocAnswer>
}

export function isStage(answer: AdHocAnswer): answer is AdHocStage {
  return 'submit' in answer
}

/** Commands that come and go: asked each time. */
export type AdHocSource = () => readonly AdHocCommand[]

/** The ad-hoc commands of one host, by node. */
export class AdHocCommands {
  readonly #commands = new Map<string, { owner: string; command: AdHocCommand }>()
  readonly #sources = new Set<AdHocSource>()

  add(owner: string, command: AdHocCommand): () => void {
    const there = this.#commands.get(command.node)
    if (there !== undefined) {
      throw new Error(`${owner}: the ad-hoc command ${command.node} is there already, from ${there.owner}`)
    }
    this.#commands.set(command.node, { owner, command })
    return () => this.#commands.delete(command.node)
  }

  addSource(source: AdHocSource): () => void {
    this.#sources.add(source)
    return () => this.#sources.delete(source)
  }

  get(node: string): AdHocCommand | undefined {
    const found = this.#commands.get(node)?.command
    if (found !== undefined) return found
    for (const source of this.#sources) {
      const command = source().find(command => command.node === node)
      if (command !== undefined) return command
    }
    return undefined
  }

  /** Those that `from` may run, in order of their names. */
  list(from: Jid): AdHocCommand[] {
    const all = [...this.#commands.values()].map(({ command }) => command)
    for (const source of this.#sources) all.push(...source())
    return all.filter(command => command.allowed(from)).sort((a, b) => (a.name < b.name ? -1 : 1))
  }
}

export type FormAnswers = ReadonlyMap<string, readonly string[]>

/** A stage made of fields; what comes is checked against them: required ones are there, choices are among those given. */
export function formStage(
  formType: string,
  head: FormHead,
  fields: readonly FormField[],
  submit: (values: FormAnswers) => AdHocAnswer | Promise<AdHocAnswer>,
  { last = true, notes }: { last?: boolean; notes?: readonly AdHocNote[] } = {},
): AdHocStage {
  return {
    form: dataForm('form', formType, fields, head),
    last,
    ...(notes === undefined ? {} : { notes }),
    submit(values) {
      for (const field of fields) checkField(field, values.get(field.var) ?? [])
      return submit(values)
    },
  }
}

function checkField({ var: name, label = name, required, options, type }: FormField, values: readonly string[]): void {
  const given = values.filter(value => value !== '')
  if (required === true && given.length === 0) throw badPayload(`${label}: something has to be given`)
  if (options === undefined || (type !== 'list-single' && type !== 'list-multi')) return
  const wrong = given.find(value => !options.some(option => option.value === value))
  if (wrong !== undefined) throw badPayload(`${label}: ${cut(wrong, 50)} is not among the choices`)
}

/** The form itself is wrong: what is required is not there, what was chosen is no choice (XEP-0050 4.4). */
export function badPayload(text: string): StanzaError {
  return new StanzaError('bad-request', text, { application: xml('bad-payload', { xmlns: NS.COMMANDS }) })
}

/** The form could be read, and what it asks for cannot be done: the text says why. */
export function cannotBeDone(text: string): StanzaError {
  return new StanzaError('not-acceptable', text)
}

/** Characters of a note, which is a line for people. */
export const MAX_NOTE = 1000

/** These are answered as errors, and the form can be submitted again; so are forms that are wrong themselves. */
const REFUSALS: ReadonlySet<StanzaCondition> = new Set(['conflict', 'forbidden', 'not-allowed'])

/**
 * A command that could not do what it was asked has completed all the same, and a note of type `error` says so (XEP-0050 3.6).
 * Undefined for what is no failure of the command, but an error of the request.
 */
export function failureOf(error: unknown): AdHocDone | undefined {
  if (!(error instanceof StanzaError) || error.application !== undefined || REFUSALS.has(error.condition))
    return undefined
  return { notes: [{ type: 'error', text: cut(error.text ?? error.condition, MAX_NOTE) }] }
}

/** The first value of a field; undefined where it is empty. */
export function answerOf(values: FormAnswers, name: string): string | undefined {
  const value = values.get(name)?.[0]?.trim()
  return value === '' ? undefined : value
}

/** Text of several lines: each line is a value (XEP-0004 3.3, text-multi). */
export function linesOf(values: FormAnswers, name: string): string {
  return (values.get(name) ?? []).join('\n').trim()
}

/** Runs a declared command as {@link Commands.run} does. Rejects with StanzaError where it fails. */
export async function runCommand(commands: Commands, name: string, given: Given): Promise<CommandResult> {
  try {
    return await commands.run(name, given)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    if (error.code === 'usage') throw cannotBeDone(error.message)
    if (error.code === 'not_found') throw new StanzaError('item-not-found', error.message)
    if (error.code === 'conflict') throw new StanzaError('conflict', error.message)
    throw new StanzaError('internal-server-error', error.message)
  }
}
