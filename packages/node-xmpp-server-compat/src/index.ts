/** The API of node-xmpp-server 2, over the engine of hermod. */
import { inherits } from 'node:util'
import { Anonymous } from './auth/anonymous.ts'
import { DigestMD5 } from './auth/digestmd5.ts'
import { Mechanism } from './auth/mechanism.ts'
import { Plain, XOAuth2 } from './auth/plain.ts'
import { ScramSHA1, ScramSHA256 } from './auth/scram.ts'
import { C2SServer as AnyC2SServer, TCPServer } from './c2s/server.ts'
import { Session } from './c2s/session.ts'
import { BOSHServer, WebSocketServer } from './c2s/unavailable.ts'
import { ComponentServer } from './component/server.ts'
import { ComponentSession } from './component/session.ts'
import { Server as _Server } from './server.ts'

export type { LoginError, User } from './auth/mechanism.ts'
export type { C2SServerOptions, TlsOptions } from './c2s/server.ts'
export { Connection } from './connection.ts'
export {
  createElement,
  createStanza,
  Element,
  escapeXML,
  escapeXMLText,
  IQ,
  ltx,
  Message,
  Parser,
  Presence,
  parse,
  Stanza,
} from './elements.ts'
export { JID } from './jid.ts'
export type { Refusal } from './refusal.ts'
export { Router, type RouterOptions, type StanzaListener } from './s2s/router.ts'
export type { ServerOptions } from './server.ts'
export { _Server, BOSHServer, ComponentServer, inherits, WebSocketServer }

export const C2S = { _Server: AnyC2SServer, _Session: Session, TCPServer, BOSHServer, WebSocketServer }
export const component = { Server: ComponentServer, Session: ComponentSession }
export const auth = {
  AbstractMechanism: Mechanism,
  Mechanism,
  Plain,
  DigestMD5,
  XOAuth2,
  Anonymous,
  ScramSHA1,
  ScramSHA256,
}

// The older names.
export { ComponentSession as ComponentStream, Session as C2SStream, TCPServer as C2SServer }
