/** Reference pages of what is not configured: hooks, services, commands, metrics, and what hermod speaks. */
import { page, table } from '../../src/config/reference.ts'
import { xepName } from '../../src/config/xeps.ts'
import { type Command, isTable, synopsis } from '../../src/core/commands/command.ts'
import { type Declared, declared, docOf, sources } from './declared.ts'
import type { Running } from './running.ts'
import type { Spoken } from './xeps.ts'

const HOOKS = `
What modules listen to (\`ctx.hook(name, { order }, handler)\`), and what is handed to each handler. Lower orders run first: FIRST 10,
FILTER 30, NORMAL 50, STORE 70, OBSERVE 90; ties in the order of the configuration. The listeners are those of hermod's own
modules; \`hermodctl hooks\` prints those of a server that runs. How a hook is run says what a handler may do:

- *waits*: a promise is waited for before the next handler is asked. STOP ends the chain, and who runs it goes by that. A
  StanzaError (or StreamError) that is thrown, or that the promise rejects with, ends it too, and is for the sender. Any other
  error is logged and the next handler is asked; with \`failClosed\` it is an \`internal-server-error\` for the sender.
- *at once*: the same, but that a promise is not waited for: it is logged, and its answer is lost.
- *at once, no sender*: nobody is there to take an error. Whatever is thrown is logged, a StanzaError too, and the next handler is
  asked; with \`failClosed\` it counts as STOP. STOP ends the chain; a promise is not waited for.
- *told*: all handlers are told, whatever one of them throws or its promise rejects with, which is logged. Nobody goes by them.
`.trim()

const SERVICES = `
What modules offer one another: \`ctx.provide(name, service)\`, \`ctx.use(name)\`, which is undefined while no running module provides it.
Their types come with \`hermod\`.
`.trim()

const COMMANDS = `
Typed at \`hermodctl\`, and offered to administrators as ad-hoc commands by [mod_adhoc_api](modules/mod_adhoc_api.md).
\`hermodctl help NAME\` says the same.
`.trim()

const METRICS = `
Where a listener serves \`/metrics\` (option \`operations\`), and by \`hermodctl stats\`; those of Node and its process (\`hermod_process_*\`,
\`hermod_nodejs_*\`) beside them.
`.trim()

const XEPS = `
Each with the file that does it, and what is left out. \`hermod.doap\` says the same for machines.
`.trim()

const KINDS: Readonly<Record<string, string>> = { Async: 'waits', Sync: 'at once', Told: 'told' }
const NO_SENDER = 'at once, no sender'

/** Pages by file, from the root of the project. */
export function referencePages({ hooks, commands, metrics }: Running, xeps: readonly Spoken[]): [string, string][] {
  const from = sources()
  const calls = from.flatMap(({ file, text }) =>
    [...text.matchAll(/\.(run|runSync|notify|settle|#tell)\(\s*'(\w+)'/g)].map(m => ({ file, by: m[1]!, hook: m[2]! })),
  )
  const listeners = (hook: string): string =>
    hooks
      .filter(one => one.hook === hook)
      .map(({ order, owner }) => `${owner} ${order}`)
      .join(', ')
  const runBy = (hook: string): string =>
    [...new Set(calls.filter(call => call.hook === hook).map(call => link(call.file)))].join(', ')
  const how = (hook: string, kind: string): string =>
    kind === 'Sync' && calls.some(call => call.hook === hook && call.by === 'notify') ? NO_SENDER : KINDS[kind]!
  const hookRows = declared('HookMap', from).map(hook => {
    const [, kind, event] = /^(\w+)<(.*)>$/.exec(hook.type)!
    return [`\`${hook.name}\``, `\`${event}\``, hook.doc, how(hook.name, kind!), runBy(hook.name), listeners(hook.name)]
  })
  const docOfService = ({ doc, type, file }: Declared): string =>
    doc === '' ? docOf(type, from.find(source => source.file === file)!) : doc
  const serviceRows = declared('ServiceMap', from).map(service => {
    return [`\`${service.name}\``, `\`${service.type}\``, docOfService(service), link(service.file)]
  })
  const metricRows = metrics.map(({ name, kind, help }) => [`\`${name}\``, kind, help])
  const xepRows = xeps.map(xep => [
    `[${xepName(xep)}](https://xmpp.org/extensions/${xepName(xep).toLowerCase()}.html)`,
    xep.name,
    xep.version,
    link(xep.file),
    xep.partial ?? '',
  ])
  return [
    [
      'docs/reference/hooks.md',
      page('Hooks', [HOOKS, table(['Hook', 'Event', 'When', 'How', 'Run by', 'Who listens'], hookRows)]),
    ],
    [
      'docs/reference/services.md',
      page('Services', [SERVICES, table(['Service', 'Type', 'What it is', 'Declared in'], serviceRows)]),
    ],
    [
      'docs/reference/commands.md',
      page('Commands', [COMMANDS, table(['Command', 'What it does', 'Gives back'], commands.map(commandRow))]),
    ],
    ['docs/reference/metrics.md', page('Metrics', [METRICS, table(['Metric', 'Kind', 'Meaning'], metricRows)])],
    [
      'docs/reference/xeps.md',
      page('Extensions', [XEPS, table(['XEP', 'Name', 'Version', 'File', 'Left out'], xepRows)]),
    ],
  ]
}

function commandRow(command: Command): string[] {
  const { summary, returns, confirm } = command
  const warning = confirm === undefined ? '' : ' Asks first.'
  const gives = isTable(returns) ? Object.keys(returns).join(', ') : (returns ?? '')
  return [`\`${synopsis(command)}\``, summary + warning, gives]
}

/** From docs/reference. */
function link(file: string): string {
  return `[${file.replace('src/', '')}](../../${file})`
}
