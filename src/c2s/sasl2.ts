import type { IssuedToken } from '../auth/devices.ts'
import { decodeBase64Strict, type SaslSuccess } from '../auth/exchange.ts'
import type { Session } from '../core/session.ts'
import { childText, type Element, NS, textOf, xml } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { inlineBind } from './bind2.ts'
import { type OfferStream, sendFeatures } from './features.ts'
import {
  accept,
  begin,
  fail,
  failed,
  isHeard,
  type Login,
  type LoginStream,
  type Profile,
  refuseRevoked,
  saslContext,
  step,
} from './login.ts'
import { readRequest } from './request.ts'
import { type ResumingStream, takeUp } from './resume.ts'
import { UpgradeTasks } from './upgrade.ts'

/** A stream on which a login brings a session along. */
export interface Sasl2Stream extends OfferStream, ResumingStream {}

/** SASL2 (XEP-0388): the same mechanisms, and everything that follows a login in the same exchange. */
const SASL2: Profile = {
  // No `=` for an empty text: there are elements that may be empty.
  decode: text => (text === '=' ? undefined : decodeBase64Strict(text)),

  challenge(stream, data) {
    stream.send(`<challenge xmlns='${NS.SASL2}'>${data.toString('base64')}</challenge>`)
  },

  failure(stream, condition, text) {
    const words = text === undefined ? undefined : xml('text', {}, text)
    stream.sendElement(xml('failure', { xmlns: NS.SASL2 }, xml(condition, { xmlns: NS.SASL }), words))
  },
}

export function sasl2Authenticate(stream: Sasl2Stream, el: Element): void | Promise<void> {
  const { login, target } = stream
  if (login !== undefined) throw new StreamError('not-authorized', 'a login is going on already')
  if (!stream.secured) return fail(stream, SASL2, 'encryption-required')
  if (!isHeard(stream, SASL2)) return
  const request = readRequest(el)
  if (typeof request === 'string') return fail(stream, SASL2, 'malformed-request', request)
  const { agent, fast } = request
  const mechanism = el.attrs['mechanism'] ?? ''
  const context = stream.sasl ?? saslContext(stream)
  const { sasl } = target!
  const isToken = fast !== undefined && (sasl.tokens(context) as string[]).includes(mechanism)
  if (isToken && agent === undefined) {
    return fail(stream, SASL2, 'malformed-request', 'a token belongs to the client whose user-agent has its id')
  }
  const exchange = isToken
    ? sasl.startToken(mechanism, context, { ...fast, device: agent!.id })
    : sasl.start(mechanism, context)
  if (exchange === undefined) return fail(stream, SASL2, 'invalid-mechanism')
  const begun: Login = {
    profile: SASL2,
    mechanism,
    exchange,
    token: isToken,
    request,
    succeed: success => enter(stream, begun, success),
  }
  return begin(stream, begun, childText(el, 'initial-response'))
}

async function enter(stream: Sasl2Stream, login: Login, success: SaslSuccess): Promise<void> {
  const { user } = success
  // XEP-0388 2.3, RFC 6120 4.7.1: who a stream says that it is from, it is from.
  if (stream.from !== undefined && stream.from.local !== user) {
    return failed(stream, SASL2, 'invalid-authzid', 'the stream is from somebody else', user)
  }
  const { credentials, sasl } = stream.target!
  const record = await credentials.get(user)
  if (stream.state !== 'unauthenticated') return
  if (record === undefined) return fail(stream, SASL2, 'not-authorized')
  // Only who has shown the password itself may add keys of it, and only such as the account lacks.
  const knows = success.vouched !== true && success.token === undefined
  const { upgrades } = login.request!
  const lacks = sasl.upgrades.filter(hash => upgrades.includes(hash) && record.scram[hash] === undefined)
  if (!knows || lacks.length === 0) return finish(stream, login, success)
  login.tasks = new UpgradeTasks(credentials, success, lacks)
  sendContinue(stream, login.tasks, success.data)
}

export function sasl2Response(stream: LoginStream, el: Element): void | Promise<void> {
  const { login } = stream
  if (login === undefined || login.tasks !== undefined) throw unexpected()
  return step(stream, login, textOf(el))
}

export function sasl2Abort(stream: LoginStream): void {
  fail(stream, SASL2, 'aborted')
}

// ---- tasks (XEP-0388 2.6.3)

function sendContinue(stream: LoginStream, tasks: UpgradeTasks, data: Buffer | undefined): void {
  stream.sendElement(
    xml('continue', { xmlns: NS.SASL2 }, additional(data), xml('tasks', {}, xml('task', {}, tasks.next!))),
  )
}

export function sasl2Next(stream: LoginStream, el: Element): void {
  const tasks = stream.login?.tasks
  if (tasks === undefined) throw unexpected()
  const salt = tasks.start(el.attrs['task'])
  if (salt === undefined) return fail(stream, SASL2, 'malformed-request', 'that is not the task')
  stream.sendElement(xml('task-data', { xmlns: NS.SASL2 }, salt))
}

export async function sasl2TaskData(stream: Sasl2Stream, el: Element): Promise<void> {
  const { login } = stream
  const tasks = login?.tasks
  if (login === undefined || tasks === undefined) throw unexpected()
  let done: boolean
  try {
    done = await tasks.complete(el)
  } catch (error) {
    stream.server.log.warn({ err: error, ip: stream.ip }, 'keys could not be stored')
    return fail(stream, SASL2, 'temporary-auth-failure')
  }
  if (stream.state !== 'unauthenticated') return
  if (!done) return fail(stream, SASL2, 'malformed-request', 'that is not what the task asks for')
  if (tasks.next !== undefined) return sendContinue(stream, tasks, undefined)
  const { data: _, ...success } = tasks.success
  return finish(stream, login, success)
}

function unexpected(): StreamError {
  return new StreamError('not-authorized', 'nothing of that kind is going on')
}

// ---- success, and what comes with it

/** XEP-0388 2.6.1: first the session that is to be resumed; only where that fails a new one (XEP-0198 10.2, XEP-0386 3.2). */
async function finish(stream: Sasl2Stream, login: Login, success: SaslSuccess): Promise<void> {
  const { resume, bind } = login.request!
  const bare = Jid.of(success.user, stream.target!.host.name)
  accept(stream, success)
  const token = await remember(stream, login, success)
  const expiry = token && new Date(token.expires).toISOString()
  const issued = token && xml('token', { xmlns: NS.FAST, token: token.secret, expiry })
  const send = (jid: Jid, ...inline: Element[]): void => {
    const identifier = xml('authorization-identifier', {}, jid.toString())
    const children = [additional(success.data), identifier, inline, issued]
    stream.sendElement(xml('success', { xmlns: NS.SASL2 }, children))
  }
  const inline: Element[] = []
  if (resume !== undefined) {
    const notResumed = await takeUp(stream, resume, (session, resumed) => send(session.jid, resumed))
    if (notResumed === undefined) return
    inline.push(notResumed)
  }
  if (stream.state !== 'authenticated') return
  refuseRevoked(stream)
  if (bind === undefined) {
    send(bare, ...inline)
    return sendFeatures(stream)
  }
  await inlineBind(stream, bind, (session: Session, bound) => {
    send(session.jid, ...inline, bound)
    void sendFeatures(stream)
  })
}

/** The device is remembered, and gets a token where it asks for one or the one it used is old (XEP-0484 3.3, 3.5). */
async function remember(
  stream: LoginStream,
  { request, mechanism }: Login,
  { user, stamp, token, vouched }: SaslSuccess,
): Promise<IssuedToken | undefined> {
  const { agent, requestToken } = request!
  if (agent === undefined) return undefined
  const { devices, sasl } = stream.target!
  const device = token?.login ?? stream.hold(devices.begin(user, agent.id))
  const offered: string[] = vouched === true ? [] : sasl.tokens(saslContext(stream))
  const wanted = [requestToken, token?.due === true ? mechanism : undefined].find(
    name => name !== undefined && offered.includes(name),
  )
  const from = { ip: stream.ip, mechanism }
  const written = devices
    .seen(device, agent, from, wanted === undefined ? undefined : { mechanism: wanted, stamp })
    .catch((error: unknown) => {
      stream.server.log.error({ err: error, user }, 'a device could not be remembered')
      return undefined
    })
  // Nobody waits for the disk but who is to have something that must be there next time.
  return wanted === undefined ? undefined : written
}

function additional(data: Buffer | undefined): Element | undefined {
  return data && xml('additional-data', {}, data.toString('base64'))
}
