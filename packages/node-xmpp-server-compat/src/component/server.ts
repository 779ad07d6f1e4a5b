import { createServer } from 'node:net'
import { Server, type ServerOptions, type SessionClass, type SessionOptions } from '../server.ts'
import { ComponentSession } from './session.ts'

/** A server for components (XEP-0114). */
export class ComponentServer extends Server<ComponentSession> {
  declare Session: SessionClass<ComponentSession, SessionOptions<ComponentServer>>

  constructor(options: ServerOptions = {}) {
    super(options, options.server ?? createServer({ noDelay: true, keepAlive: true }))
  }
}

ComponentServer.prototype.DEFAULT_PORT = 5347
ComponentServer.prototype.Session = ComponentSession
