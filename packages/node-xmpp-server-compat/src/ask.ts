import type { EventEmitter } from 'node:events'

/** What an application answered: as a callback of Node's, error first. */
export type Answer = readonly [error: unknown, value?: unknown]
export type Callback = (error?: unknown, value?: unknown) => void

/**
 * Asks those who listen to an event, by the callback that they get; an async listener may return its answer instead, or throw
 * its error. The first answer counts, the rest means nothing. Undefined where nobody listens.
 */
export function ask(emitter: EventEmitter, event: string, ...args: unknown[]): Promise<Answer> | undefined {
  const listeners = emitter.rawListeners(event)
  if (listeners.length === 0) return undefined
  return new Promise(resolve => {
    const callback: Callback = (error, value) => resolve([error, value])
    for (const listener of listeners) {
      const returned: unknown = listener.call(emitter, ...args, callback)
      if (!(returned instanceof Promise)) continue
      // What returns nothing has called back, or will.
      returned.then(
        value => value !== undefined && resolve([null, value]),
        error => resolve([error ?? new Error('refused')]),
      )
    }
  })
}
