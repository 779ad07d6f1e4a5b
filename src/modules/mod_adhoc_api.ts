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
import type { Arg, Command, CommandResult, TableRow } from '../core/commands/command.ts'
import type { Given } from '../core/commands/read.ts'
import { defineModule } from '../core/module.ts'
import { cut } from '../util/text.ts'
import { NS } from '../xml/index.ts'
import { dataForm, type FormField, tableForm } from '../xmpp/forms.ts'
import type { Jid } from '../xmpp/jid.ts'

const PREFIX = 'api-commands/'
/** Characters of the values of one answer. */
const MAX_ANSWER = 512 * 1024
const TYPES: Partial<Record<Arg<unknown>['kind'], string>> = {
  account: 'jid-single',
  jid: 'jid-single',
  host: 'list-single',
  secret: 'text-private',
  xml: 'text-multi',
}

declare module '../core/services.ts' {
  interface ServiceMap {
    /** May run commands that reach the accounts of this host, by its own rule. */
    adhoc_api: { allows(from: Jid): boolean }
  }
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
    ctx.provide('adhoc_api', { allows: from => ctx.allowed(ctx.options.access, from) })
    const allowed = (from: Jid): boolean =>
      [...ctx.host.router.hosts].every(([name, host]) => {
        const api = host.services.use('adhoc_api')
        // A host that does not run this module is for those who administer it.
        return api === undefined ? ctx.allowed('configure', from, name) : api.allows(from)
      })

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
        .filter(({ args }) => Object.values(args).every(({ kind }) => kind !== 'file'))
        .map(offer),
    )
  },
})

function fields(command: Command, hosts: readonly string[]): FormField[] {
  return Object.entries(command.args).map(([name, { kind, doc, optional, values }]) => {
    const choices = values ?? (kind === 'host' ? hosts : undefined)
    return {
      var: name,
      type: choices === undefined ? (TYPES[kind] ?? 'text-single') : 'list-single',
      label: doc,
      required: !optional,
      values: kind === 'host' && !optional && hosts.length === 1 ? hosts : [],
      ...(choices === undefined ? {} : { options: choices.map(value => ({ value })) }),
    }
  })
}

/** What was written in the fields; empty ones are left out. */
function givenBy(command: Command, values: FormAnswers): Given {
  const of = (name: string, kind: string) =>
    kind === 'xml' ? linesOf(values, name) || undefined : answerOf(values, name)
  return Object.fromEntries(Object.entries(command.args).map(([name, { kind }]) => [name, of(name, kind)]))
}

function done(command: Command, result: CommandResult, maxRows: number): AdHocDone {
  if (result === undefined || result === null) return { notes: [{ type: 'info', text: 'Done' }] }
  if (isTable(result)) {
    const columns = (command.columns ?? Object.keys(result[0] ?? {})).map(name => ({ var: name, label: name }))
    const rows = firstRows(result, maxRows)
    const payload = tableForm(NS.ADMIN, columns, rows)
    if (rows.length === result.length) return { payload }
    return { payload, notes: [{ type: 'warn', text: `The first ${rows.length} of ${result.length} rows` }] }
  }
  const text = cut(String(result), MAX_ANSWER)
  const payload = dataForm('result', NS.ADMIN, [{ var: 'result', label: 'Result', values: [text] }])
  return { payload, notes: [{ type: 'info', text: cut(text, MAX_NOTE) }] }
}

/** As many as are shown, and as an answer has room for. */
function firstRows(result: readonly TableRow[], most: number): Record<string, string>[] {
  const rows: Record<string, string>[] = []
  let length = 0
  for (const row of result.slice(0, most).map(textRow)) {
    for (const value of Object.values(row)) length += value.length
    if (length > MAX_ANSWER && rows.length > 0) break
    rows.push(row)
  }
  return rows
}

function isTable(result: NonNullable<CommandResult>): result is readonly TableRow[] {
  return Array.isArray(result)
}

function textRow(row: TableRow): Record<string, string> {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === null ? '' : String(value)]))
}
