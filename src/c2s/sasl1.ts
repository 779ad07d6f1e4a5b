import { decodeBase64Strict, type SaslSuccess } from '../auth/exchange.ts'
import { type Element, NS, textOf, xml } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { accept, begin, fail, isHeard, type LoginStream, mayLogIn, type Profile, saslContext, step } from './login.ts'

/** SASL as RFC 6120 6 has it. */
const SASL: Profile = {
  decode: decodeBase64Strict,

  challenge(stream, data) {
    stream.send(`<challenge xmlns='${NS.SASL}'>${base64(data)}</challenge>`)
  },

  failure(stream, condition, text) {
    const words = text === undefined ? undefined : xml('text', { 'xml:lang': 'en' }, text)
    stream.sendElement(xml('failure', { xmlns: NS.SASL }, xml(condition), words))
  },
}

export function saslAuth(stream: LoginStream, el: Element): void | Promise<void> {
  if (!mayLogIn(stream)) return fail(stream, SASL, 'encryption-required')
  if (!isHeard(stream, SASL)) return
  const mechanism = el.attrs['mechanism'] ?? ''
  const exchange = stream.target!.sasl.start(mechanism, stream.sasl ?? saslContext(stream))
  if (exchange === undefined) return fail(stream, SASL, 'invalid-mechanism')
  const text = textOf(el)
  const succeed = (success: SaslSuccess) => enter(stream, success)
  const login = { profile: SASL, mechanism, exchange, token: false, request: undefined, succeed }
  return begin(stream, login, text === '' ? undefined : text)
}

function enter(stream: LoginStream, success: SaslSuccess): void {
  const { data } = success
  accept(stream, success)
  stream.send(`<success xmlns='${NS.SASL}'>${data === undefined ? '' : base64(data)}</success>`)
  stream.restart()
}

export function saslResponse(stream: LoginStream, el: Element): void | Promise<void> {
  const { login } = stream
  if (login === undefined) throw new StreamError('not-authorized', 'there is no login going on')
  return step(stream, login, textOf(el) || '=')
}

export function saslAbort(stream: LoginStream): void {
  fail(stream, SASL, 'aborted')
}

function base64(data: Buffer): string {
  return data.length === 0 ? '=' : data.toString('base64')
}
