import { TLSSocket } from 'node:tls'
import { NO_BINDINGS, tlsBindings } from '../auth/channelbinding.ts'
import { decodeBase64Strict, type SaslCondition, type SaslContext, type SaslResult } from '../auth/exchange.ts'
import { clone, type Element, elementNs, NS, textOf, xml } from '../xml/index.ts'
import { StanzaError, StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { bindResource } from './bind.ts'
import { resumeSession } from './resume.ts'
import type { C2SHost } from './server.ts'
import type { C2SStream } from './stream.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** Features are about to be offered; handlers add theirs (RFC 6120 4.3.2). */
    stream_features: { features: Element[]; authenticated: boolean; secured: boolean; ip: string }
    /** An iq from a client that is not logged in (XEP-0077). A handler sets `answer`. */
    unauthenticated_iq: { stanza: Stanza; secured: boolean; ip: string; answer: Stanza | undefined }
  }
}

/** Failed logins after which a stream is closed (RFC 6120 6.4.5 recommends 2 to 5). */
const MAX_FAILURES = 5

type Step = (stream: C2SStream, el: Element) => void | Promise<void>

/** RFC 6120 4.3, 5 to 7: what may be asked before a session exists, by state. */
const STEPS: Record<'unauthenticated' | 'authenticated', Readonly<Record<string, Step>>> = {
  unauthenticated: {
    [`starttls ${NS.TLS}`]: startTls,
    [`auth ${NS.SASL}`]: saslAuth,
    [`response ${NS.SASL}`]: saslResponse,
    [`abort ${NS.SASL}`]: saslAbort,
    [`iq ${NS.CLIENT}`]: unauthenticatedIq,
  },
  authenticated: {
    [`iq ${NS.CLIENT}`]: bindIq,
    [`resume ${NS.SM}`]: resumeSession,
    [`enable ${NS.SM}`]: stream => {
      stream.send(`<failed xmlns='${NS.SM}'><unexpected-request xmlns='${NS.STANZAS}'/></failed>`)
    },
  },
}

/** Handles an element before the stream has a session. Throws StreamError for what may not be said there. */
export function negotiate(stream: C2SStream, el: Element): void | Promise<void> {
  if (stream.state !== 'unauthenticated' && stream.state !== 'authenticated') return
  const step = STEPS[stream.state][`${el.name} ${elementNs(el)}`]
  // RFC 6120 7.1 and 4.9.3.12: nothing else before the client is logged in and bound.
  if (step === undefined) throw new StreamError('not-authorized', 'log in and bind a resource first')
  return step(stream, el)
}

export function sendFeatures(stream: C2SStream): void {
  const features = xml('stream:features', { 'xmlns:stream': NS.STREAM })
  const target = stream.target!
  const authenticated = stream.user !== undefined
  if (!authenticated) {
    const { starttls } = stream.settings
    if (!stream.secured && starttls !== 'off') {
      features.append(xml('starttls', { xmlns: NS.TLS }, starttls === 'required' ? xml('required') : undefined))
    }
    if (mayLogIn(stream)) addMechanisms(stream, target, features)
  } else {
    features.append(xml('bind', { xmlns: NS.BIND }))
    features.append(xml('session', { xmlns: NS.SESSION }, xml('optional')))
    features.append(xml('sm', { xmlns: NS.SM }))
    for (const feature of target.host.disco.streamFeatures()) features.append(feature)
  }
  features.append(
    xml('limits', { xmlns: NS.STREAM_LIMITS }, xml('max-bytes', {}, String(stream.settings.limits.stanzaBytes))), // XEP-0478
  )
  const { secured, ip } = stream
  const list: Element[] = []
  if (authenticated || mayLogIn(stream)) {
    target.host.hooks.runSync('stream_features', { features: list, authenticated, secured, ip })
  }
  for (const feature of list) features.append(feature)
  stream.sendElement(features)
}

/** Where STARTTLS is required nothing else is offered, or taken, before it. */
function mayLogIn(stream: C2SStream): boolean {
  return stream.secured || stream.settings.starttls !== 'required'
}

function addMechanisms(stream: C2SStream, target: C2SHost, features: Element): void {
  const context = saslContext(stream, target)
  stream.sasl = context
  const names = target.sasl.offered(context)
  if (names.length === 0) return
  const list = names.map(name => xml('mechanism', {}, name))
  features.append(xml('mechanisms', { xmlns: NS.SASL }, ...list))
  if (context.bindings.types.length > 0) {
    const types = context.bindings.types.map(type => xml('channel-binding', { type }))
    features.append(xml('sasl-channel-binding', { xmlns: NS.SASL_CB }, ...types)) // XEP-0440
  }
}

function saslContext(stream: C2SStream, target: C2SHost): SaslContext {
  const { socket } = stream
  return {
    secure: stream.secured,
    bindings: socket instanceof TLSSocket ? tlsBindings(socket, stream.server.tls.endPoints) : NO_BINDINGS,
    allowPlainInsecure: target.settings.plainWithoutTls,
  }
}

function startTls(stream: C2SStream): void {
  if (stream.secured || stream.settings.starttls === 'off') {
    stream.send(`<failure xmlns='${NS.TLS}'/>`)
    throw new StreamError('policy-violation', 'STARTTLS is not offered here')
  }
  stream.send(`<proceed xmlns='${NS.TLS}'/>`)
  const { tls } = stream.server
  const name = stream.target!.host.name
  stream.upgrade(socket => new TLSSocket(socket, tls.options(false, name)))
}

// ---- SASL (RFC 6120 6)

function saslAuth(stream: C2SStream, el: Element): void | Promise<void> {
  const target = stream.target!
  if (!mayLogIn(stream)) return saslFail(stream, 'encryption-required')
  const verdict = stream.server.failures.check(stream.ip)
  if (!verdict.allowed) {
    return saslFail(
      stream,
      'temporary-auth-failure',
      `too many failed logins; wait ${Math.ceil(verdict.retryAfter / 1000)} s`,
    )
  }
  const mechanism = el.attrs['mechanism'] ?? ''
  stream.exchange = target.sasl.start(mechanism, stream.sasl ?? saslContext(stream, target))
  if (stream.exchange === undefined) return saslFail(stream, 'invalid-mechanism')
  stream.mechanism = mechanism
  const text = textOf(el)
  return saslStep(stream, text === '' ? undefined : text)
}

function saslResponse(stream: C2SStream, el: Element): void | Promise<void> {
  if (stream.exchange === undefined) throw new StreamError('not-authorized', 'there is no login going on')
  return saslStep(stream, textOf(el) || '=')
}

function saslAbort(stream: C2SStream): void {
  stream.exchange = undefined
  saslFail(stream, 'aborted')
}

function saslStep(stream: C2SStream, text: string | undefined): void | Promise<void> {
  let input: Buffer | undefined
  if (text !== undefined) {
    input = decodeBase64Strict(text)
    if (input === undefined) return saslFail(stream, 'incorrect-encoding')
  }
  const result = stream.exchange!.step(input)
  if (!(result instanceof Promise)) return saslResult(stream, result)
  return result.then(
    later => saslResult(stream, later),
    (error: unknown) => {
      // The store failed, or too many passwords are being checked: not the client's fault, and it may try again.
      stream.server.log.warn({ err: error, ip: stream.ip }, 'a login could not be checked')
      saslFail(stream, 'temporary-auth-failure')
    },
  )
}

function saslResult(stream: C2SStream, result: SaslResult): void | Promise<void> {
  if (stream.state !== 'unauthenticated') return
  if ('challenge' in result) {
    stream.send(`<challenge xmlns='${NS.SASL}'>${base64(result.challenge)}</challenge>`)
    return
  }
  stream.exchange = undefined
  if ('failure' in result) {
    // The server was too busy to tell: not a failure of the client.
    if (result.failure === 'temporary-auth-failure') return saslFail(stream, result.failure, result.text)
    return saslFailed(stream, result.failure, result.text, result.user)
  }
  const { user, data } = result.success
  const { failures } = stream.server
  const { name } = stream.target!.host
  const account = `${user}@${name}`
  const verdict = failures.check(stream.ip, account)
  if (!verdict.allowed) {
    return saslFail(
      stream,
      'temporary-auth-failure',
      `too many failed logins; wait ${Math.ceil(verdict.retryAfter / 1000)} s`,
    )
  }
  if (!stream.settings.access({ user, host: name, ip: stream.ip })) return saslFail(stream, 'not-authorized')
  failures.succeeded(stream.ip, account)
  stream.user = user
  stream.sasl = undefined
  stream.state = 'authenticated'
  stream.server.counters.logins.value++
  stream.send(`<success xmlns='${NS.SASL}'>${data === undefined ? '' : base64(data)}</success>`)
  stream.restart()
}

/** A login that was really tried and failed: it counts, and the more there were the later comes the answer. */
async function saslFailed(stream: C2SStream, condition: SaslCondition, text?: string, user?: string): Promise<void> {
  const { failures, counters } = stream.server
  counters.failures.value++
  const account = user === undefined ? undefined : `${user}@${stream.target!.host.name}`
  failures.failed(stream.ip, account)
  const verdict = failures.check(stream.ip, account)
  stream.server.log.info({ ip: stream.ip, account, condition }, 'a login failed')
  const delay = verdict.allowed ? verdict.delay : 0
  if (delay > 0) await new Promise(resolve => setTimeout(resolve, delay))
  saslFail(stream, condition, text)
  if (++stream.failures >= MAX_FAILURES) throw new StreamError('policy-violation', 'too many failed logins')
}

function saslFail(stream: C2SStream, condition: SaslCondition, text?: string): void {
  stream.exchange = undefined
  stream.sendElement(
    xml(
      'failure',
      { xmlns: NS.SASL },
      xml(condition),
      text === undefined ? undefined : xml('text', { 'xml:lang': 'en' }, text),
    ),
  )
}

function base64(data: Buffer): string {
  return data.length === 0 ? '=' : data.toString('base64')
}

// ---- iqs before the session

function readIq(el: Element, from: Jid): Stanza | StanzaError {
  try {
    return Stanza.fromClient(el, 'iq', from)
  } catch (error) {
    if (error instanceof StanzaError) return error
    throw error
  }
}

function unauthenticatedIq(stream: C2SStream, el: Element): void | Promise<void> {
  const { host } = stream.target!
  const stanza = readIq(clone(el), host.jid)
  if (stanza instanceof StanzaError || !mayLogIn(stream) || !host.hooks.has('unauthenticated_iq')) {
    throw new StreamError('not-authorized', 'log in first')
  }
  const event = { stanza, secured: stream.secured, ip: stream.ip, answer: undefined as Stanza | undefined }
  const reply = (): void => {
    if (event.answer === undefined) throw new StreamError('not-authorized', 'log in first')
    const answer = event.answer.el
    delete answer.attrs['to'] // the client has no address yet
    answer.attrs['from'] = host.name
    stream.sendElement(answer)
  }
  const done = host.hooks.run('unauthenticated_iq', event)
  if (done instanceof Promise) return done.then(reply)
  reply()
}

/** RFC 6120 7: binds a resource; before that nothing but binding may be asked. */
function bindIq(stream: C2SStream, el: Element): void | Promise<void> {
  const stanza = readIq(el, Jid.of(stream.user!, stream.target!.host.name))
  if (stanza instanceof StanzaError) throw new StreamError('not-authorized', 'bind a resource first')
  const { payload } = stanza
  if (stanza.type !== 'set' || payload === undefined || !payload.is('bind', NS.BIND)) {
    throw new StreamError('not-authorized', 'bind a resource first') // RFC 6120 7.1
  }
  return bindResource(stream, stanza, payload)
}
