import type { FederationControl, OutgoingPeer, WaitingForPeer } from '../core/commands/server/federation.ts'
import { orderedTime } from '../util/ids.ts'
import { parseHead } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Conversation } from './conversation.ts'
import type { Links } from './links.ts'

/** Other servers, for operators. */
export class LinksControl implements FederationControl {
  readonly #links: Links

  constructor(links: Links) {
    this.#links = links
  }

  outgoing(): OutgoingPeer[] {
    return [...this.#links.links()].map(({ pair, state, conversation, queue, failure, retryAt }) => ({
      domain: pair.remote,
      local: pair.local,
      state,
      ...streamOf(conversation),
      messages: queue.messages,
      bytes: queue.bytes,
      retry: retryAt ?? null,
      reason: failure?.text ?? null,
    }))
  }

  incoming(): ReturnType<FederationControl['incoming']> {
    return [...this.#links.conversations].flatMap(talk =>
      [...talk.receives].map(({ local, remote }) => ({
        domain: remote,
        local,
        state: talk.connected ? 'connected' : 'parted',
        ...streamOf(talk),
      })),
    )
  }

  async peek(remote: string, limit: number): Promise<WaitingForPeer[]> {
    const found: WaitingForPeer[] = []
    for (const link of await this.#links.ofRemote(remote)) {
      for (const { id, bytes } of await link.queue.peek(limit)) {
        const { from = '', to = '' } = parseHead(bytes).attrs
        found.push({ id, at: orderedTime(id) ?? 0, from, to, bytes: bytes.length })
      }
    }
    return found
  }

  async drop(remote: string): Promise<number> {
    let count = 0
    const reason = new StanzaError('remote-server-timeout', 'given up by an administrator')
    for (const link of await this.#links.ofRemote(remote)) count += await link.drop(reason)
    return count
  }

  reset(remote: string): number {
    let count = 0
    for (const talk of [...this.#links.conversations]) {
      if (!talk.sends.hasRemote(remote) && !talk.receives.hasRemote(remote)) continue
      talk.reset('ended by an administrator')
      count++
    }
    return count
  }

  retry(remote: string | undefined): number {
    let count = 0
    for (const link of this.#links.links()) {
      if (remote === undefined ? link.queue.messages === 0 : link.pair.remote !== remote) continue
      if (link.retry()) count++
    }
    return count
  }
}

function streamOf(talk: Conversation | undefined) {
  const info = talk?.info
  return {
    method: info?.method ?? null,
    tls: info?.tls ?? null,
    bidi: info?.bidi ?? null,
    sm: info?.sm ?? null,
    ip: info?.ip ?? null,
    since: info?.since ?? null,
  }
}
