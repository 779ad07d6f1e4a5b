import { Attempts } from './attempts.ts'
import type { Dial } from './dial.ts'
import type { Pair } from './pair.ts'
import { PeerError } from './peererror.ts'
import { SendingStream } from './sending.ts'
import type { S2SServer } from './server.ts'
import type { Talk } from './wire.ts'

/** Opens streams to other servers. */
export class Connector {
  readonly #dial: Dial
  readonly #server: S2SServer
  readonly #attempts = new Attempts()

  constructor(dial: Dial, server: S2SServer) {
    this.#dial = dial
    this.#server = server
  }

  /**
   * A conversation in which we may send for a pair, on a stream of its own.
   *
   * @param before one that waits to be resumed: then it is that one, or it was told that it is over
   * @throws PeerError
   */
  connect(pair: Pair, before: Talk | undefined, signal: AbortSignal): Promise<Talk> {
    const server = this.#server
    const { settings } = server
    if (!settings.allows(pair.remote)) {
      return Promise.reject(new PeerError('forbidden', `${pair.remote}: s2s.access does not allow it`))
    }
    return this.#attempts.run(pair.remote, () =>
      this.#dial.reach(
        pair.remote,
        settings.connectTimeout,
        (transport, reached) => {
          const { promise, resolve, reject } = Promise.withResolvers<Talk>()
          const stream = new SendingStream(server, transport, pair, reached, before, { resolve, reject })
          stream.start()
          return { done: promise, abandon: why => stream.abandon(why) }
        },
        signal,
      ),
    )
  }
}
