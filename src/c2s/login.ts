import type { DeviceLogin } from '../auth/devices.ts'
import {
  type SaslCondition,
  type SaslContext,
  type SaslExchange,
  type SaslResult,
  type SaslSuccess,
  tooManyFailures,
} from '../auth/exchange.ts'
import type { ConnectionInfo } from '../core/session.ts'
import type { ChannelBindings } from '../net/channelbinding.ts'
import type { Element } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { LoginRequest } from './request.ts'
import type { AccessCheck, C2SHost, C2SServer, StreamState } from './server.ts'
import type { UpgradeTasks } from './upgrade.ts'

/** Failed logins after which a stream is closed (RFC 6120 6.4.5 recommends 2 to 5). */
const MAX_FAILURES = 5

/** A stream on which a client logs in. */
export interface LoginStream {
  readonly server: C2SServer
  readonly settings: { readonly starttls: 'off' | 'optional' | 'required'; readonly access: AccessCheck }
  readonly state: StreamState
  /** The host of the stream, from its header; it cannot change once the client is authenticated. */
  readonly target: C2SHost | undefined
  readonly ip: string
  readonly secured: boolean
  readonly bindings: ChannelBindings
  readonly info: ConnectionInfo
  /** Who the client says that it is, before it has logged in (RFC 6120 4.7.1). */
  readonly from: Jid | undefined
  /** The device that logs in, or has; no longer when it has a session. */
  readonly device: DeviceLogin | undefined
  /** What the mechanisms on offer were told of this stream. */
  sasl: SaslContext | undefined
  login: Login | undefined
  mechanism: string | undefined
  /** Failed logins on this stream. */
  failures: number
  send(data: string): void
  sendElement(el: Element): void
  /** A new stream on the same connection (RFC 6120 4.3.3). */
  restart(): void
  /** The client is that user: from here on it has an account's limits. */
  admitted(user: string): void
  /** Keeps a device that is logging in where a revocation finds it, until it has a session or is gone. */
  hold(device: DeviceLogin): DeviceLogin
  release(): void
  /** Ends the stream. */
  fail(error: StreamError): void
}

/** How the messages of a login travel: SASL (RFC 6120 6) or SASL2 (XEP-0388). What they mean is the same. */
export interface Profile {
  /** Undefined for what is not base64 as the profile wants it. */
  decode(text: string): Buffer | undefined
  challenge(stream: LoginStream, data: Buffer): void
  failure(stream: LoginStream, condition: SaslCondition, text: string | undefined): void
}

/** A login that is going on. */
export interface Login {
  readonly profile: Profile
  readonly mechanism: string
  readonly exchange: SaslExchange
  /** By a token, not a password. */
  readonly token: boolean
  /** What a client asks for along with a login by SASL2. */
  readonly request: LoginRequest | undefined
  /** The client has shown who it is, and may come in. */
  readonly succeed: (success: SaslSuccess) => void | Promise<void>
  /** What is left to do though the client has shown who it is. */
  tasks?: UpgradeTasks
}

/** Where STARTTLS is required nothing else is offered, or taken, before it. */
export function mayLogIn(stream: LoginStream): boolean {
  return stream.secured || stream.settings.starttls !== 'required'
}

export function saslContext(stream: LoginStream): SaslContext {
  return {
    secure: stream.secured,
    bindings: stream.bindings,
    allowPlainInsecure: stream.target!.settings.plainWithoutTls,
    wait: user => waitOf(stream, user),
  }
}

/** Whether an attempt from this address is heard at all; if not, the client is told how long to wait. */
export function isHeard(stream: LoginStream, profile: Profile): boolean {
  const verdict = stream.server.failures.check(stream.ip)
  if (verdict.allowed) return true
  refuse(stream, profile, verdict.retryAfter)
  return false
}

function refuse(stream: LoginStream, profile: Profile, wait: number, user?: string): void {
  const { failure, text } = tooManyFailures(wait)
  const account = user === undefined ? undefined : `${user}@${stream.target!.host.name}`
  stream.server.log.info({ ip: stream.ip, account, wait }, 'a login was not heard: too many failed')
  fail(stream, profile, failure, text)
}

/**
 * Ms until a password for the account is heard from there: too many failed from this address, or from everywhere and nobody
 * ever logged in from here. It does not depend on whether there is such an account.
 */
function waitOf(stream: LoginStream, user: string): number | Promise<number> {
  const { failures } = stream.server
  const { credentials, familiar, host } = stream.target!
  const account = `${user}@${host.name}`
  const verdict = failures.check(stream.ip, account)
  if (!verdict.allowed) return verdict.retryAfter
  const wait = failures.attacked(account)
  if (wait === 0) return 0
  const known = async (): Promise<boolean> => {
    const stamp = await credentials.stamp(user)
    return stamp !== undefined && familiar.knows(user, stamp, stream.ip)
  }
  return known().then(
    is => (is ? 0 : wait),
    () => wait,
  )
}

/** The first step of a login, with the client's initial response if there is one. */
export function begin(stream: LoginStream, login: Login, text: string | undefined): void | Promise<void> {
  stream.release() // of an attempt before that was not let in
  stream.login = login
  stream.mechanism = login.mechanism
  return step(stream, login, text)
}

export function step(stream: LoginStream, login: Login, text: string | undefined): void | Promise<void> {
  let input: Buffer | undefined
  if (text !== undefined) {
    input = login.profile.decode(text)
    if (input === undefined) return fail(stream, login.profile, 'incorrect-encoding')
  }
  const result = login.exchange.step(input)
  if (!(result instanceof Promise)) return conclude(stream, login, result)
  return result.then(
    later => conclude(stream, login, later),
    (error: unknown) => {
      // The store or another source of accounts failed, or too many passwords are being checked: not the client's fault.
      stream.server.log.warn({ err: error, ip: stream.ip }, 'a login could not be checked')
      fail(stream, login.profile, 'temporary-auth-failure')
    },
  )
}

function conclude(stream: LoginStream, login: Login, result: SaslResult): void | Promise<void> {
  const { profile } = login
  if ('success' in result && result.success.token !== undefined) stream.hold(result.success.token.login)
  if (stream.state !== 'unauthenticated') return
  if ('challenge' in result) return profile.challenge(stream, result.challenge)
  const user = 'success' in result ? result.success.user : result.user
  // Nobody guesses tokens, so those who have one are not kept waiting by those who guess passwords.
  if (user === undefined || login.token) return decide(stream, login, result)
  // The same for the right password and a wrong one: who has to wait learns nothing of either.
  const judge = (wait: number): void | Promise<void> => {
    if (stream.state !== 'unauthenticated') return
    return wait > 0 ? refuse(stream, profile, wait, user) : decide(stream, login, result)
  }
  const wait = waitOf(stream, user)
  return wait instanceof Promise ? wait.then(judge) : judge(wait)
}

function decide(
  stream: LoginStream,
  login: Login,
  result: Exclude<SaslResult, { challenge: Buffer }>,
): void | Promise<void> {
  const { profile } = login
  if ('failure' in result) {
    // The server was too busy to tell, or the token was a right one once: no attempt to guess.
    const innocent = result.failure === 'temporary-auth-failure' || result.failure === 'credentials-expired'
    if (innocent) return fail(stream, profile, result.failure, result.text)
    return failed(stream, profile, result.failure, result.text, result.user)
  }
  const { user } = result.success
  const { name } = stream.target!.host
  if (!stream.settings.access({ user, host: name, ip: stream.ip })) {
    // As a wrong password: whom the listener keeps out learns nothing either.
    return failed(stream, profile, 'not-authorized', undefined, user)
  }
  return enter(stream, login, result.success)
}

/**
 * Showing who one is takes time, and so does what follows. From here on a change of the account (its password, that it is
 * disabled or gone) finds the stream and ends it; one that was made before is seen now.
 */
function enter(stream: LoginStream, login: Login, success: SaslSuccess): void | Promise<void> {
  const { user, stamp } = success
  const { credentials, entering } = stream.target!
  entering.set(stream, user)
  const go = (now: string | undefined): void | Promise<void> => {
    if (stream.state !== 'unauthenticated') return
    if (now !== stamp) return failed(stream, login.profile, 'not-authorized', undefined, user)
    return login.succeed(success)
  }
  const now = credentials.stamp(user)
  return now instanceof Promise ? now.then(go) : go(now)
}

/** From here on the stream is that user's. */
export function accept(stream: LoginStream, { user, stamp }: SaslSuccess): void {
  const { failures, counters } = stream.server
  const { familiar, host } = stream.target!
  const jid = `${user}@${host.name}`
  familiar.seen(user, stamp, stream.ip)
  failures.succeeded(stream.ip, jid)
  const { ip, tls, mechanism } = stream.info
  stream.server.log.info({ jid, ip, tls, mechanism, device: stream.login?.request?.agent?.software }, 'logged in')
  stream.admitted(user)
  counters.logins.value++
}

/** A login that was really tried and failed: it counts, and the more there were the later comes the answer. */
export async function failed(
  stream: LoginStream,
  profile: Profile,
  condition: SaslCondition,
  text?: string,
  user?: string,
): Promise<void> {
  const { failures, counters } = stream.server
  counters.failures.value++
  const account = user === undefined ? undefined : `${user}@${stream.target!.host.name}`
  // Where it never came to a name nobody has guessed at anything: clients find out so what they can use (RFC 5802 6).
  if (account !== undefined) {
    const before = failures.attacked(account)
    failures.failed(stream.ip, account)
    if (before === 0 && failures.attacked(account) > 0) {
      stream.server.log.warn(
        { account },
        'an account is guessed at from many addresses: new ones are not heard for now',
      )
    }
  }
  const verdict = failures.check(stream.ip, account)
  stream.server.log.info({ ip: stream.ip, account, condition }, 'a login failed')
  const delay = verdict.allowed ? verdict.delay : 0
  if (delay > 0) await new Promise(resolve => setTimeout(resolve, delay))
  fail(stream, profile, condition, text)
  if (++stream.failures >= MAX_FAILURES) throw new StreamError('policy-violation', 'too many failed logins')
}

/** Ends a login, if there is one, without counting it. */
export function fail(stream: LoginStream, profile: Profile, condition: SaslCondition, text?: string): void {
  stream.login = undefined
  stream.target?.entering.delete(stream)
  profile.failure(stream, condition, text)
}

/** A device that was logged out while it was logging in gets no session. */
export function refuseRevoked(stream: { readonly device: DeviceLogin | undefined }): void {
  if (stream.device?.revoked) throw new StreamError('not-authorized', 'this device was logged out')
}
