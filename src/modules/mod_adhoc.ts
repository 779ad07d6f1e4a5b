import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { opt } from '../config/schema.ts'
import {
  type AdHocAnswer,
  type AdHocCommand,
  type AdHocNote,
  type AdHocStage,
  failureOf,
  isStage,
} from '../core/adhoc.ts'
import type { IqRequest } from '../core/iq.ts'
import { defineModule } from '../core/module.ts'
import { cut } from '../util/text.ts'
import { type Element, findChild, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { formValues } from '../xmpp/forms.ts'

const ACTIONS = new Set(['execute', 'next', 'prev', 'complete', 'cancel'])
/** Stages that one may go back through. */
const MAX_STAGES = 20

/** A command in progress, between one full address and the host or account it was asked of (XEP-0050 3.3). */
interface Session {
  readonly id: string
  /** Whose it is, whatever the device: devices come and go, and an account has only so many commands in progress. */
  readonly account: string
  /** The client, whom it asked, and which command: an id counts for nothing else. */
  readonly owner: string
  readonly command: AdHocCommand
  /** The stages passed, the one that waits for its form last. */
  readonly stages: AdHocStage[]
  touched: number
}

export const mod_adhoc = defineModule({
  name: 'mod_adhoc',
  xep: {
    number: 50,
    version: '1.3.0',
    name: 'Ad-Hoc Commands',
    partial: 'In English, whatever is asked for; a form that comes back cancelled cancels the command.',
  },
  summary: 'Lets clients run commands of the server, step by step, with forms.',
  options: {
    report_commands_node: opt.bool(false, 'Show the list of commands among the items of the server.'),
    session_timeout: opt.duration('10m', 'How long a command waits for its next form.', { min: 1000 }),
    max_user_sessions: opt.int(10, 'Commands that one account may have in progress; one more ends its oldest.', {
      min: 1,
      max: 1000,
    }),
    max_sessions: opt.int(10_000, 'Commands in progress of all accounts; one more ends the oldest.', { min: 1 }),
  },
  start(ctx) {
    const { adhoc } = ctx.host
    const sessions = new Sessions(ctx.options, ctx.now)
    ctx.feature(NS.COMMANDS, 'server', 'account')

    const execute = (request: IqRequest): Promise<Element> => run(node => adhoc.get(node), sessions, request)
    ctx.iq('server', 'set', NS.COMMANDS, 'command', execute, { removes: true })
    // Clients also look for the commands of their server at their own address.
    ctx.iq('own', 'set', NS.COMMANDS, 'command', execute, { removes: true })

    ctx.hook('disco_items', event => {
      const { scope, from, account, node, items } = event
      const own = scope === 'server' || account?.jid.equals(from.bare) === true
      const jid = scope === 'server' ? ctx.host.name : account!.jid.toString()
      if (node === NS.COMMANDS) {
        event.known = true
        if (own) for (const { node, name } of adhoc.list(from)) items.push({ jid, node, name })
      } else if (node === '' && scope === 'server' && ctx.options.report_commands_node) {
        if (adhoc.list(from).length > 0) items.push({ jid, node: NS.COMMANDS, name: 'Commands' })
      }
    })
    ctx.hook('disco_info', event => {
      const { scope, from, account, node } = event
      if (event.answer !== undefined || (scope === 'account' && account?.jid.equals(from.bare) !== true)) return
      const command = adhoc.get(node)
      if (node === NS.COMMANDS) event.answer = describe('command-list', 'Commands')
      else if (command?.allowed(from) === false) throw forbidden()
      else if (command !== undefined) event.answer = describe('command-node', command.name)
    })
    ctx.every(60_000, () => sessions.expire())
  },
})

async function run(
  find: (node: string) => AdHocCommand | undefined,
  sessions: Sessions,
  { stanza, from, payload }: IqRequest,
): Promise<Element> {
  const { node = '', sessionid, action = 'execute' } = payload.attrs
  if (!ACTIONS.has(action)) throw badRequest('malformed-action', `there is no action "${cut(action, 50)}"`)
  const command = find(node)
  if (command === undefined) throw new StanzaError('item-not-found', 'there is no such command')
  if (!command.allowed(from)) throw forbidden()
  const owner = JSON.stringify([from, stanza.to ?? from.bare, node])

  if (sessionid === undefined) {
    if (action !== 'execute') throw badRequest('bad-action', 'a command begins with "execute"')
    const session = sessions.open(from.bare.toString(), owner, command)
    return proceed(sessions, session, await attempt(() => command.execute(from)))
  }

  const session = sessions.take(sessionid, owner)
  if (action === 'cancel') return reply(session, 'canceled', [])
  try {
    return await advance(sessions, session, action, payload)
  } catch (error) {
    sessions.keep(session) // the form can be sent again
    throw error
  }
}

async function advance(sessions: Sessions, session: Session, given: string, payload: Element): Promise<Element> {
  const { stages } = session
  const stage = stages.at(-1)!
  const forward = stage.last ? 'complete' : 'next'
  const action = given === 'execute' ? forward : given
  if (action === 'prev') {
    if (stages.length < 2) throw badRequest('bad-action', 'this is the first stage')
    stages.pop()
    sessions.keep(session)
    return reply(session, 'executing', stageChildren(session))
  }
  if (action !== forward) throw badRequest('bad-action', `this stage takes "${forward}"`)
  const form = findChild(payload, 'x', NS.DATA)
  if (form === undefined) throw badRequest('bad-payload', 'the form is missing')
  // XEP-0004 3.2: a form to fill out comes back submitted, or cancelled.
  if (form.attrs['type'] === 'cancel') return reply(session, 'canceled', [])
  if (form.attrs['type'] !== 'submit') throw badRequest('bad-payload', 'a form is submitted or cancelled')
  return proceed(sessions, session, await attempt(() => stage.submit(formValues(form))))
}

async function attempt(act: () => AdHocAnswer | Promise<AdHocAnswer>): Promise<AdHocAnswer> {
  try {
    return await act()
  } catch (error) {
    const failure = failureOf(error)
    if (failure === undefined) throw error
    return failure
  }
}

function proceed(sessions: Sessions, session: Session, answer: AdHocAnswer): Element {
  if (!isStage(answer)) {
    return reply(session, 'completed', [...(answer.payload === undefined ? [] : [answer.payload]), ...notes(answer)])
  }
  session.stages.push(answer)
  if (session.stages.length > MAX_STAGES) session.stages.shift()
  sessions.keep(session)
  return reply(session, 'executing', stageChildren(session))
}

function stageChildren({ stages }: Session): Element[] {
  const stage = stages.at(-1)!
  const forward = stage.last ? 'complete' : 'next'
  // XEP-0050 3.4: `execute` names one of the actions that are allowed.
  const actions = xml('actions', { execute: forward }, stages.length > 1 && xml('prev'), xml(forward))
  return [actions, stage.form, ...notes(stage)]
}

function notes(answer: { notes?: readonly AdHocNote[] }): Element[] {
  return (answer.notes ?? []).map(({ type, text }) => xml('note', { type }, text))
}

function reply(session: Session, status: string, children: Element[]): Element {
  const attrs = { xmlns: NS.COMMANDS, node: session.command.node, sessionid: session.id, status, 'xml:lang': 'en' }
  const el = xml('command', attrs)
  el.children = children
  return el
}

function describe(type: string, name: string): Element[] {
  return [
    xml('identity', { category: 'automation', type, name }),
    xml('feature', { var: NS.COMMANDS }),
    xml('feature', { var: NS.DATA }),
  ]
}

function forbidden(): StanzaError {
  return new StanzaError('forbidden', 'you may not run this command', { type: 'cancel' })
}

function badRequest(condition: string, text: string): StanzaError {
  return new StanzaError('bad-request', text, { application: xml(condition, { xmlns: NS.COMMANDS }) })
}

interface Bounds {
  session_timeout: number
  max_user_sessions: number
  max_sessions: number
}

/** Commands in progress, bounded in number and time; those that were touched longest ago go first. */
class Sessions {
  readonly #bounds: Bounds
  readonly #now: () => number
  /** In the order in which they were touched. */
  readonly #open = new Map<string, Session>()
  readonly #byAccount = new Map<string, Set<string>>()
  readonly #key = randomBytes(32)

  constructor(bounds: Bounds, now: () => number) {
    this.#bounds = bounds
    this.#now = now
  }

  /** A new session; it is nowhere until it is kept. */
  open(account: string, owner: string, command: AdHocCommand): Session {
    const nonce = randomBytes(16).toString('hex')
    return { id: `${nonce}${this.#sign(nonce, owner)}`, account, owner, command, stages: [], touched: 0 }
  }

  /**
   * Takes a session out, so that nobody else goes on with it meanwhile. An id says by itself whether it was ever given to
   * who shows it: what has ended is told apart from what never was (XEP-0050 4.4).
   */
  take(id: string, owner: string): Session {
    this.expire()
    const nonce = id.slice(0, 32)
    const signature = Buffer.from(id.slice(32))
    const expected = Buffer.from(this.#sign(nonce, owner))
    if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
      throw badRequest('bad-sessionid', 'that is no session of yours for this command')
    }
    const session = this.#open.get(id)
    if (session === undefined) {
      const application = xml('session-expired', { xmlns: NS.COMMANDS })
      throw new StanzaError('not-allowed', 'the command was ended, or waited too long', { application })
    }
    this.#remove(session)
    return session
  }

  keep(session: Session): void {
    const { account } = session
    const own = this.#byAccount.get(account)
    if (own !== undefined && own.size >= this.#bounds.max_user_sessions) this.#remove(this.#open.get(first(own))!)
    if (this.#open.size >= this.#bounds.max_sessions) this.#remove(this.#open.get(first(this.#open.keys()))!)
    session.touched = this.#now()
    this.#open.set(session.id, session)
    this.#byAccount.set(account, (this.#byAccount.get(account) ?? new Set()).add(session.id))
  }

  expire(): void {
    const oldest = this.#now() - this.#bounds.session_timeout
    for (const session of this.#open.values()) {
      if (session.touched > oldest) return
      this.#remove(session)
    }
  }

  #remove(session: Session): void {
    this.#open.delete(session.id)
    const own = this.#byAccount.get(session.account)
    own?.delete(session.id)
    if (own?.size === 0) this.#byAccount.delete(session.account)
  }

  #sign(nonce: string, owner: string): string {
    return createHmac('sha256', this.#key).update(`${nonce} ${owner}`).digest('hex').slice(0, 32)
  }
}

function first(ids: Iterable<string>): string {
  for (const id of ids) return id
  throw new RangeError('there is none')
}
