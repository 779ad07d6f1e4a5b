/** Ad-hoc commands (XEP-0050) as a test client runs them. */
import assert from 'node:assert/strict'
import { parseOptions } from '../../src/config/validate.ts'
import type { ModuleDefinition } from '../../src/core/module.ts'
import type { RawClient } from './rawclient.ts'
import { child, type XmlElement, xmlText } from './rawxml.ts'
import { builtins, type TestServer } from './testserver.ts'

export const NS_COMMANDS = 'http://jabber.org/protocol/commands'

export type Answers = Readonly<Record<string, string | readonly string[]>>

export interface Step {
  /** `<command/>` of the answer. */
  command: XmlElement
  sessionid: string
  status: string
  form: XmlElement | undefined
  /** Values by `var`, of a form or of a result that is no table. */
  values: Record<string, string[]>
  /** Rows of a result that is a table. */
  rows: Record<string, string>[]
  /** `type: text` */
  notes: string[]
}

function submission(answers: Answers | undefined): string {
  if (answers === undefined) return ''
  const fields = Object.entries(answers).map(([name, given]) => {
    const values = [given].flat().map(value => `<value>${xmlText(value)}</value>`)
    return `<field var='${xmlText(name)}'>${values.join('')}</field>`
  })
  return `<x xmlns='jabber:x:data' type='submit'>${fields.join('')}</x>`
}

/** One request of a command; rejects with the condition of an error. */
export async function step(
  client: RawClient,
  node: string,
  options: { to?: string; sessionid?: string; action?: string; answers?: Answers } = {},
): Promise<Step> {
  const { to = client.options.domain, sessionid, action, answers } = options
  const attrs = Object.entries({ node, sessionid, action }).map(([name, value]) =>
    value === undefined ? '' : ` ${name}='${xmlText(value)}'`,
  )
  const payload = `<command xmlns='${NS_COMMANDS}'${attrs.join('')}>${submission(answers)}</command>`
  const command = (await client.request('set', payload, to)).children[0]!
  const form = child(command, 'x', 'jabber:x:data')
  const fields = form?.children.filter(el => el.name === 'field') ?? []
  const items = form?.children.filter(el => el.name === 'item') ?? []
  return {
    command,
    sessionid: command.attrs['sessionid'] ?? '',
    status: command.attrs['status'] ?? '',
    form,
    values: Object.fromEntries(fields.map(field => [field.attrs['var'], valuesOf(field)])),
    rows: items.map(item =>
      Object.fromEntries(item.children.map(field => [field.attrs['var'], valuesOf(field)[0] ?? ''])),
    ),
    notes: command.children.filter(el => el.name === 'note').map(el => `${el.attrs['type']}: ${el.text}`),
  }
}

/** XEP-0050 3.6: what could not be done has completed, with a note of type `error`. Resolves with its text. */
export async function failed(running: Promise<Step>): Promise<string> {
  const { status, notes } = await running
  assert.equal(status, 'completed')
  assert.match(notes.join(), /^error: .+/)
  return notes.join().replace('error: ', '')
}

function valuesOf(field: XmlElement): string[] {
  return field.children.filter(el => el.name === 'value').map(el => el.text)
}

/** Runs a command of one form, or none. */
export async function run(client: RawClient, node: string, answers?: Answers, to?: string): Promise<Step> {
  const first = await step(client, node, to === undefined ? {} : { to })
  if (answers === undefined) return first
  return step(client, node, { ...(to === undefined ? {} : { to }), sessionid: first.sessionid, answers })
}

/** The nodes of the commands on offer. */
export async function offered(client: RawClient, to = client.options.domain): Promise<string[]> {
  const query = `<query xmlns='http://jabber.org/protocol/disco#items' node='${NS_COMMANDS}'/>`
  const answer = await client.request('get', query, to)
  return answer.children[0]!.children.map(item => item.attrs['node']!)
}

/** Runs a module of one host with other options than those of the other hosts; undefined: not at all. */
export async function reconfigure(
  { server }: TestServer,
  host: string,
  name: string,
  options: Record<string, unknown> | undefined,
  extra: readonly ModuleDefinition[] = [],
): Promise<void> {
  const definitions = await builtins()
  for (const definition of extra) definitions.set(definition.name, definition)
  const perHost = new Map(server.config.perHost)
  const { [name]: _, ...others } = perHost.get(host)!.modules
  const mine = options === undefined ? {} : { [name]: parseOptions(definitions.get(name)!.options, options) }
  perHost.set(host, { ...perHost.get(host)!, modules: { ...others, ...mine } })
  await server.reload({ ...server.config, perHost }, definitions)
}
