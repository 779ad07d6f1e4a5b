/** What people read: the table, and for a failure the story of some of the messages concerned. */
import type { Fault, Message } from './ledger.ts'
import type { Result } from './trial.ts'

const COLUMNS: [string, number, (result: Result) => string | number][] = [
  ['scenario', -20, r => r.scenario.name],
  ['messages', 9, r => r.counts.messages],
  ['acked', 7, r => r.counts.acked],
  ['delivered', 10, r => r.counts.delivered],
  ['refused', 8, r => r.counts.refused],
  ['lost', 6, r => r.counts.lost],
  ['theirs', 8, r => r.theirs],
  ['of same', 8, r => r.counts.lostRepeats],
  ['false bounce', 13, r => r.counts.falseBounces],
  ['disorder', 9, r => r.counts.disorder],
  ['never acked', 12, r => r.counts.neverAcked],
  ['dup avoidable', 14, r => r.counts.avoidable],
  ['dup unavoidable', 16, r => r.counts.unavoidable],
  ['(in crash)', 11, r => r.counts.inCrash],
  ['resumed', 8, r => r.resumed],
  ['not', 5, r => r.refused],
  ['s', 6, r => r.seconds.toFixed(1)],
]

const pad = (text: string, width: number): string => (width < 0 ? text.padEnd(-width) : text.padStart(width))

export function header(): string {
  return COLUMNS.map(([title, width]) => pad(title, width)).join('')
}

export function row(result: Result): string {
  if (result.skipped) return `${pad(result.scenario.name, -20)} skipped: ${result.skipped}`
  return COLUMNS.map(([, width, value]) => pad(String(value(result)), width)).join('')
}

/** What failed, and the timeline of up to `examples` messages of each kind of fault. */
export function diagnosis(result: Result, examples = 2): string {
  const { ledger, failures, scenario } = result
  const lines = [`${scenario.name} (${scenario.about}): ${failures.join('; ')}`, `server log: ${result.log}`]
  if (!ledger) return lines.join('\n')
  lines.push(...ledger.violations.slice(0, 5).map(v => `  ${v}`))
  const shown = new Map<Fault | 'refused', number>()
  for (const message of ledger.messages.values()) {
    const faults: (Fault | 'refused')[] = ledger.faults(message)
    if (!scenario.mayRefuse && message.errors.length > 0 && message.copies.length === 0) faults.push('refused')
    const due = faults.filter(fault => (shown.get(fault) ?? 0) < examples)
    if (due.length === 0) continue
    for (const fault of due) shown.set(fault, (shown.get(fault) ?? 0) + 1)
    lines.push('', `${faults.join(', ')}: message ${message.id}`, ...timeline(result, message))
  }
  if (shown.size === 0) lines.push('last events:', ...timeline(result, undefined).slice(-30))
  return lines.join('\n')
}

/** The message's own history between the events of its sender, its recipient and the server. */
function timeline({ ledger }: Result, message: Message | undefined): string[] {
  if (!ledger) return []
  const own = message?.history ?? []
  const from = (own[0]?.at ?? 0) - 500
  const until = (own.at(-1)?.at ?? Number.POSITIVE_INFINITY) + 500
  // Servers are told of by their domains.
  const concerned = ({ sender, recipient }: Message, who: string): boolean =>
    [sender, recipient, 'disk', 'cable', 'world'].includes(who) || who.includes('.')
  const around = ledger.events
    .filter(e => e.at >= from && e.at <= until)
    .filter(e => !message || concerned(message, e.who))
    .map(({ at, who, what }) => ({ at, what: `${who} ${what}`, mark: ' ' }))
  const start = ledger.events[0]?.at ?? 0
  return [...own.map(({ at, what }) => ({ at, what, mark: '*' })), ...around]
    .sort((a, b) => a.at - b.at)
    .map(({ at, what, mark }) => ` ${mark}${((at - start) / 1000).toFixed(3).padStart(8)} s  ${what}`)
}
