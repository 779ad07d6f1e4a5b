import { opt } from '../config/schema.ts'
import {
  type AdHocAnswer,
  type AdHocCommand,
  type AdHocDone,
  answerOf,
  type FormAnswers,
  formStage,
  linesOf,
  MAX_NOTE,
  runCommand,
} from '../core/adhoc.ts'
import { administersAll } from '../core/commands/access.ts'
import {
  type ArgKind,
  accessOf,
  type Command,
  type CommandResult,
  isTable,
  type Kind,
  type TableRow,
  type Value,
  type ValueKind,
} from '../core/commands/command.ts'
import type { Given } from '../core/commands/read.ts'
import { kindOf } from '../core/commands/result.ts'
import { defineModule } from '../core/module.ts'
import { cut } from '../util/text.ts'
import { NS } from '../xml/index.ts'
import { dataForm, type FormField, tableForm } from '../xmpp/forms.ts'
import type { Jid } from '../xmpp/jid.ts'

const PREFIX = 'api-commands/'
/** Characters of the values of one answer. */
const MAX_ANSWER = 512 * 1024
const TYPES: Partial<Record<ArgKind | Kind, string>> = {
  account: 'jid-single',
  jid: 'jid-single',
  host: 'list-single',
  bool: 'boolean',
  list: 'text-multi',
  object: 'text-multi',
  secret: 'text-private',
  xml: 'text-multi',
}

/**
 * A command may reach every host, so only who may administer all of them is offered any. Those that read or write files are
 * for who is on the machine.
 */
export const mod_adhoc_api = defineModule({
  name: 'mod_adhoc_api',
  summary: 'Offers the commands of hermodctl to administrators in their clients.',
  options: {
    access: opt.access('configure', 'Who may run them; every host must allow it, each by its own rule.'),
    max_rows: opt.int(1000, 'Rows of a table that are shown; of a longer one the first.', { min: 1, max: 100_000 }),
  },
  start(ctx) {
    const hosts = (): string[] => [...ctx.host.router.hosts.keys()]
    const allowed = (from: Jid): boolean => administersAll(ctx, from)
    const offer = (command: Command): AdHocCommand => ({
      node: PREFIX + command.name,
      name: `${command.name}: ${command.summary}`,
      allowed,
      execute(from) {
        const run = async (given: Given): Promise<AdHocAnswer> => {
          ctx.log.info({ command: command.name, by: from.toString() }, 'an administrator runs a command')
          return done(command, await runCommand(ctx.commands, command.name, given), ctx.options.max_rows)
        }
        if (Object.keys(command.args).length === 0) return run({})
        const head = { title: command.name, instructions: command.summary }
        return formStage(NS.ADMIN, head, fields(command, hosts()), values => run(givenBy(command, values)))
      },
    })
    ctx.adhoc(() =>
      ctx.commands
        .list()
        .filter(command => accessOf(command) !== 'machine')
        .map(offer),
    )
  },
})

function fields(command: Command, hosts: readonly string[]): FormField[] {
  return Object.entries(command.args).map(([name, { kind, doc, optional, values }]) => {
    const choices = values ?? (kind === 'host' ? hosts : undefined)
    return {
      var: name,
      type: choices === undefined ? (TYPES[kind] ?? 'text-single') : kind === 'list' ? 'list-multi' : 'list-single',
      label: doc,
      required: !optional,
      values: kind === 'host' && !optional && hosts.length === 1 ? hosts : [],
      ...(choices === undefined ? {} : { options: choices.map(value => ({ value })) }),
    }
  })
}

/** What was written in the fields; empty ones are left out. */
function givenBy(command: Command, values: FormAnswers): Given {
  const of = (name: string, kind: ArgKind): unknown => {
    if (kind === 'list') return values.get(name)
    return kind === 'xml' || kind === 'object' ? linesOf(values, name) || undefined : answerOf(values, name)
  }
  return Object.fromEntries(Object.entries(command.args).map(([name, { kind }]) => [name, of(name, kind)]))
}

function done({ returns = 'text?' }: Command, result: CommandResult, maxRows: number): AdHocDone {
  if (result === null) return { notes: [{ type: 'info', text: 'Done' }] }
  if (isTable(returns)) {
    const columns = Object.entries(returns).map(([name, kind]) => ({ var: name, label: name, ...typed(kind) }))
    const all = result as readonly TableRow[]
    const rows = firstRows(all, maxRows)
    const payload = tableForm(NS.ADMIN, columns, rows)
    if (rows.length === all.length) return { payload }
    return { payload, notes: [{ type: 'warn', text: `The first ${rows.length} of ${all.length} rows` }] }
  }
  const text = cut(textsOf(result as Value).join('\n'), MAX_ANSWER)
  const values = Array.isArray(result) ? text.split('\n') : [text]
  const payload = dataForm('result', NS.ADMIN, [{ var: 'result', label: 'Result', ...typed(returns), values }])
  return { payload, notes: [{ type: 'info', text: cut(text, MAX_NOTE) }] }
}

/** Of what is no plain text. */
function typed(kind: ValueKind): { type?: string } {
  const type = TYPES[kindOf(kind)]
  return type === undefined ? {} : { type }
}

function textsOf(value: Value): readonly string[] {
  return [value ?? ''].flat().map(String)
}

/** As many as are shown, and as an answer has room for. */
function firstRows(result: readonly TableRow[], most: number): Record<string, readonly string[]>[] {
  const rows: Record<string, readonly string[]>[] = []
  let length = 0
  for (const values of result.slice(0, most)) {
    const row = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, textsOf(value)]))
    for (const text of Object.values(row).flat()) length += text.length
    if (length > MAX_ANSWER && rows.length > 0) break
    rows.push(row)
  }
  return rows
}
