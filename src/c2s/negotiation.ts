import type { TlsOptions } from '../net/handshake.ts'
import { clone, type Element, elementNs, NS } from '../xml/index.ts'
import { StanzaError, StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { type BindStream, bindResource } from './bind.ts'
import { type LoginStream, mayLogIn } from './login.ts'
import { type ResumingStream, resumeSession } from './resume.ts'
import { saslAbort, saslAuth, saslResponse } from './sasl1.ts'
import { type Sasl2Stream, sasl2Abort, sasl2Authenticate, sasl2Next, sasl2Response, sasl2TaskData } from './sasl2.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** An iq from a client that is not logged in (XEP-0077). A handler sets `answer`. */
    unauthenticated_iq: Async<{
      stanza: Stanza
      secured: boolean
      ip: string
      stream: object
      answer: Stanza | undefined
    }>
  }
}

/** A stream without a session. */
export interface NegotiatingStream extends Sasl2Stream, ResumingStream {
  /** The connection goes over to TLS, and a new stream begins. */
  upgrade(options: TlsOptions): void
}

type Step = (stream: NegotiatingStream, el: Element) => void | Promise<void>

/** RFC 6120 4.3, 5 to 7: what may be asked before a session exists, by state. */
const STEPS: Record<'unauthenticated' | 'authenticated', Readonly<Record<string, Step>>> = {
  unauthenticated: {
    [`starttls ${NS.TLS}`]: startTls,
    [`auth ${NS.SASL}`]: saslAuth,
    [`response ${NS.SASL}`]: saslResponse,
    [`abort ${NS.SASL}`]: saslAbort,
    [`authenticate ${NS.SASL2}`]: sasl2Authenticate,
    [`response ${NS.SASL2}`]: sasl2Response,
    [`abort ${NS.SASL2}`]: sasl2Abort,
    [`next ${NS.SASL2}`]: sasl2Next,
    [`task-data ${NS.SASL2}`]: sasl2TaskData,
    [`enable ${NS.SM}`]: tooEarly,
    [`resume ${NS.SM}`]: tooEarly,
    [`iq ${NS.CLIENT}`]: unauthenticatedIq,
  },
  authenticated: {
    [`iq ${NS.CLIENT}`]: bindIq,
    [`resume ${NS.SM}`]: resumeSession,
    [`enable ${NS.SM}`]: tooEarly,
  },
}

/** Handles an element before the stream has a session. Throws StreamError for what may not be said there. */
export function negotiate(stream: NegotiatingStream, el: Element): void | Promise<void> {
  if (stream.state !== 'unauthenticated' && stream.state !== 'authenticated') return
  const ns = elementNs(el)
  // XEP-0388 2.4: nothing else may come while a login goes on.
  if (stream.login?.request !== undefined && ns !== NS.SASL2) {
    throw new StreamError('not-authorized', 'first end the login that is going on')
  }
  const step = STEPS[stream.state][`${el.name} ${ns}`]
  // RFC 6120 7.1 and 4.9.3.12: nothing else before the client is logged in and bound.
  if (step === undefined) throw new StreamError('not-authorized', 'log in and bind a resource first')
  return step(stream, el)
}

/** XEP-0198 3: to be asked for once there is a session (or, to resume, a login); the stream goes on. */
function tooEarly(stream: LoginStream): void {
  stream.send(`<failed xmlns='${NS.SM}'><unexpected-request xmlns='${NS.STANZAS}'/></failed>`)
}

function startTls(stream: NegotiatingStream): void {
  if (stream.secured || stream.settings.starttls === 'off') {
    stream.send(`<failure xmlns='${NS.TLS}'/>`)
    throw new StreamError('policy-violation', 'STARTTLS is not offered here')
  }
  stream.send(`<proceed xmlns='${NS.TLS}'/>`)
  stream.upgrade(stream.server.tls.options(false, stream.target!.host.name))
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

function unauthenticatedIq(stream: LoginStream, el: Element): void | Promise<void> {
  const { host } = stream.target!
  const stanza = readIq(clone(el), host.jid)
  if (stanza instanceof StanzaError || !mayLogIn(stream) || !host.hooks.has('unauthenticated_iq')) {
    throw new StreamError('not-authorized', 'log in first')
  }
  const { secured, ip } = stream
  const event = { stanza, secured, ip, stream, answer: undefined as Stanza | undefined }
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
function bindIq(stream: BindStream, el: Element): void | Promise<void> {
  const stanza = readIq(el, Jid.of(stream.user!, stream.target!.host.name))
  if (stanza instanceof StanzaError) throw new StreamError('not-authorized', 'bind a resource first')
  const { payload } = stanza
  if (stanza.type !== 'set' || payload === undefined || !payload.is('bind', NS.BIND)) {
    throw new StreamError('not-authorized', 'bind a resource first') // RFC 6120 7.1
  }
  return bindResource(stream, stanza, payload)
}
