import { XmlError } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import {
  CommandError,
  type CommandResult,
  isTable,
  type Kind,
  type Returns,
  type TableRow,
  type Value,
} from './command.ts'

/** Rows after which whoever waits is told how many there are. */
const TOLD = 1000

/** What a handler gave, as JSON: by the kinds that its command declares. */
export async function encode(
  returns: Returns = 'text?',
  result: unknown,
  progress: (text: string) => void,
): Promise<CommandResult> {
  if (!isTable(returns)) return encodeValue(kindOf(returns), result)
  const columns = Object.entries(returns).map(([name, kind]) => [name, kindOf(kind)] as const)
  const rows: TableRow[] = []
  for await (const row of result as AsyncIterable<Record<string, unknown>>) {
    rows.push(Object.fromEntries(columns.map(([name, kind]) => [name, encodeValue(kind, row[name])])))
    if (rows.length % TOLD === 0) progress(`${rows.length} rows`)
  }
  return rows
}

/** What several hosts gave: their rows together, or the sum of their numbers; of other values one a host. */
export function joined(results: readonly CommandResult[]): CommandResult {
  if (results.length === 1) return results[0]!
  if (results.every(result => typeof result === 'number')) return results.reduce((sum, number) => sum + number, 0)
  return results.flat().filter(value => value !== null) as CommandResult
}

/** A kind without its `?`. */
export function kindOf(kind: string): Kind {
  return kind.replace('?', '') as Kind
}

function encodeValue(kind: Kind, value: unknown): Value {
  if (value === undefined || value === null) return null
  if (kind === 'time') return new Date(value as number).toISOString()
  return kind === 'jid' ? String(value) : (value as Value)
}

/** What went wrong is for the person who typed the command to mend. */
export async function failing<T>(work: Promise<T>, what = ''): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw new CommandError('failed', what + (error instanceof Error ? error.message : String(error)))
  }
}

/** What a client would be told as an error stanza, the administrator is told in words. */
export async function commanded<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (error instanceof StanzaError) throw new CommandError('failed', error.text ?? error.condition)
    throw error instanceof XmlError ? new CommandError('failed', error.message) : error
  }
}
