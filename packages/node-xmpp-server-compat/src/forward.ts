import type { EventEmitter } from 'node:events'
import type { Connection, ConnectionEvents } from './connection.ts'

/** What sessions tell of their connection. */
export interface SessionLifeEvents extends ConnectionEvents {
  /** The older name of `disconnect`. */
  offline: [error?: Error]
}

/** What happens to a connection happens to its session. */
export function forward(connection: Connection, session: EventEmitter): void {
  for (const event of ['connect', 'data', 'drain', 'end', 'close'] as const) {
    connection.on(event, (...args: unknown[]) => session.emit(event, ...args))
  }
  connection.on('disconnect', error => {
    session.emit('disconnect', error)
    session.emit('offline', error)
  })
  connection.on('error', error => {
    if (session.listenerCount('error') > 0) session.emit('error', error)
  })
}
