/**
 * The engine below the server, as `hermod/engine`: for programs that speak XMPP on connections of their own, without hosts,
 * accounts or modules. What a connection is and carries (`Listener`, `SocketTransport`), one end of a stream with its limits
 * and errors (`XmppStream`, told by a `StreamHandler` what is spoken), XML and addresses. What a stream needs beside it is
 * made once and shared by all streams of a program: `IdGenerator`, `Rounds`, `PreLoginBudget`, `Flusher`, a log. `Peering` is
 * all that there is of federation.
 */

export { BusyError, createDerive, type Derive, preparePassword, type ScramHash, type ScramKeys } from './auth/derive.ts'
export { decodeBase64Strict, mayActAs, messageText, type SaslCondition, type SaslResult } from './auth/exchange.ts'
export { Failures } from './auth/failures.ts'
export { ScramExchange } from './auth/scram.ts'
export { createLog, type Logger } from './core/log.ts'
export { NO_BINDINGS } from './net/channelbinding.ts'
export { ConnectionCounter } from './net/connections.ts'
export { Listener, type ListenerSurroundings, type PortSettings } from './net/listener.ts'
export { PreLoginBudget } from './net/prelogin.ts'
export { Shaper, type ShaperLimits } from './net/shaper.ts'
export { Flusher, type Peer, type Receiver, SocketTransport, type Transport } from './net/transport.ts'
export { Peering, type PeeringDomain, type PeeringOptions } from './peering.ts'
export { documentFraming, type Framing } from './stream/framing.ts'
export { Rounds } from './stream/rounds.ts'
export { type PeerHeader, type StreamHandler, type StreamSettings, XmppStream } from './stream/stream.ts'
export { IdGenerator } from './util/ids.ts'
export {
  childElements,
  clone,
  Element,
  elementNs,
  findChild,
  firstChild,
  NS,
  parseElement,
  serialize,
  textOf,
  XmlError,
  xml,
} from './xml/index.ts'
export { StanzaError, StreamError } from './xmpp/errors.ts'
export { Jid, prepResource } from './xmpp/jid.ts'
export { Stanza } from './xmpp/stanza.ts'
