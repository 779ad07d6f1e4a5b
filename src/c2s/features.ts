import type { ScramHash } from '../auth/derive.ts'
import type { HookEvent } from '../core/hooks.ts'
import { type Element, NS, type ParserLimits, xml } from '../xml/index.ts'
import { inlineFeatures } from './bind2.ts'
import { type LoginStream, mayLogIn, saslContext } from './login.ts'
import { taskName } from './request.ts'
import type { C2SHost } from './server.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /**
     * Features are about to be offered; handlers add theirs (RFC 6120 4.3.2). `idle`: who looks after clients that send
     * nothing for so many seconds says so (XEP-0478).
     */
    stream_features: Sync<{
      features: Element[]
      authenticated: boolean
      secured: boolean
      ip: string
      idle: number | undefined
    }>
  }
}

/** A stream on which something is offered. */
export interface OfferStream extends LoginStream {
  readonly user: string | undefined
  readonly session: { readonly managed: boolean } | undefined
  /** Of what comes in now. */
  readonly limits: ParserLimits
}

/** Says what may be negotiated on the stream now; a promise where the account has to be looked up first. */
export function sendFeatures(stream: OfferStream): void | Promise<void> {
  if (stream.user !== undefined || stream.from === undefined) return send(stream, undefined)
  const kept = stream.target!.credentials.kept(stream.from.local)
  if (!(kept instanceof Promise)) return send(stream, kept)
  return kept.then(
    hashes => send(stream, hashes),
    () => send(stream, undefined),
  )
}

/** @param hashes what is kept of the password of whom the stream says it is from */
function send(stream: OfferStream, hashes: readonly ScramHash[] | undefined): void {
  if (stream.state === 'closing') return
  const features = xml('stream:features', { 'xmlns:stream': NS.STREAM })
  const target = stream.target!
  const authenticated = stream.user !== undefined
  if (!authenticated) {
    const { starttls } = stream.settings
    if (!stream.secured && starttls !== 'off') {
      features.append(xml('starttls', { xmlns: NS.TLS }, starttls === 'required' ? xml('required') : undefined))
    }
    if (mayLogIn(stream)) addMechanisms(stream, target, features, hashes)
  } else {
    if (stream.state !== 'bound') {
      features.append(xml('bind', { xmlns: NS.BIND }))
      features.append(xml('session', { xmlns: NS.SESSION }, xml('optional')))
    }
    // Not again where it is on: xmpp.js would ask for it again, be refused, and take it for off.
    if (stream.session?.managed !== true) features.append(xml('sm', { xmlns: NS.SM }))
    for (const feature of target.host.disco.streamFeatures()) features.append(feature)
  }
  const { secured, ip } = stream
  const event: HookEvent<'stream_features'> = { features: [], authenticated, secured, ip, idle: undefined }
  if (authenticated || mayLogIn(stream)) target.host.hooks.runSync('stream_features', event)
  features.append(
    // XEP-0478
    xml(
      'limits',
      { xmlns: NS.STREAM_LIMITS },
      xml('max-bytes', {}, String(stream.limits.stanzaBytes)),
      event.idle !== undefined && xml('idle-seconds', {}, String(event.idle)),
    ),
  )
  for (const feature of event.features) features.append(feature)
  stream.sendElement(features)
}

function addMechanisms(
  stream: OfferStream,
  target: C2SHost,
  features: Element,
  hashes: readonly ScramHash[] | undefined,
): void {
  const context = saslContext(stream)
  // XEP-0388 2.1: only what the account can use. Names that nobody has show what some account might.
  if (hashes !== undefined) context.hashes = hashes
  stream.sasl = context
  const names = target.sasl.offered(context)
  if (names.length === 0) return
  const mechanisms = (): Element[] => names.map(name => xml('mechanism', {}, name))
  features.append(xml('mechanisms', { xmlns: NS.SASL }, mechanisms()))
  if (stream.secured) {
    const authentication = xml('authentication', { xmlns: NS.SASL2 }, mechanisms(), inline(stream, target))
    for (const hash of target.sasl.upgrades) {
      authentication.append(xml('upgrade', { xmlns: NS.SASL_UPGRADE }, taskName(hash)))
    }
    features.append(authentication)
  }
  if (context.bindings.types.length > 0) {
    const types = context.bindings.types.map(type => xml('channel-binding', { type }))
    features.append(xml('sasl-channel-binding', { xmlns: NS.SASL_CB }, ...types)) // XEP-0440
  }
}

/** What a client may ask for in the same breath (XEP-0388 2.1). TLS early data cannot be had in Node, so no `tls-0rtt`. */
function inline(stream: OfferStream, target: C2SHost): Element {
  const bind = inlineFeatures(target.host).map(ns => xml('feature', { var: ns }))
  const tokens = target.sasl.tokens(stream.sasl!).map(name => xml('mechanism', {}, name))
  return xml(
    'inline',
    {},
    xml('sm', { xmlns: NS.SM }),
    xml('bind', { xmlns: NS.BIND2 }, xml('inline', {}, bind)),
    tokens.length > 0 && xml('fast', { xmlns: NS.FAST }, tokens),
  )
}
