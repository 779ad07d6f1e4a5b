import { C2SServer, type C2SServerOptions } from './server.ts'

/** Clients over BOSH (XEP-0124). Not there yet: it comes with the engine's own. */
export class BOSHServer extends C2SServer {
  constructor(options?: C2SServerOptions) {
    super(options)
    throw missing('BOSHServer', 'BOSH (XEP-0124)')
  }
}

/** Clients over WebSockets (RFC 7395). Not there yet: it comes with the engine's own. */
export class WebSocketServer extends C2SServer {
  constructor(options?: C2SServerOptions) {
    super(options)
    throw missing('WebSocketServer', 'WebSocket (RFC 7395)')
  }
}

function missing(name: string, what: string): Error {
  const text = `${name}: the engine does not speak ${what} yet. Use C2SServer, which takes clients over TCP.`
  return Object.assign(new Error(text), { code: 'ERR_NOT_AVAILABLE' })
}
