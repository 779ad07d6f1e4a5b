import { OptionError } from '../config/diagnostics.ts'
import { type DestinationLimits, type DestinationQueue, DestinationQueues } from '../core/queue/destinationqueue.ts'
import type { Entry } from '../core/queue/entry.ts'
import type { Store } from '../storage/store.ts'
import { StreamError } from '../xmpp/errors.ts'
import { Component } from './component.ts'
import type { ComponentServer } from './server.ts'
import type { ComponentSettings } from './settings.ts'

type PeerMessageHook = 'peer_message_queued' | 'peer_message_accepted' | 'peer_message_bounced'

/** For what waits for a component that is configured no more, or has no queue any more. */
const LEFT_OVER: DestinationLimits = {
  messages: 0,
  bytes: 0,
  senderMessages: 0,
  senderBytes: 0,
  lifetime: 172_800_000,
}

/** The components of a server, by domain. */
export class Components {
  readonly #server: ComponentServer
  readonly #components = new Map<string, Component>()
  readonly #queues: DestinationQueues
  /** By domain, also of those that are configured no more while something waits for them: it goes back when its time is over. */
  readonly #open = new Map<string, DestinationQueue>()

  constructor(server: ComponentServer, store: Store) {
    this.#server = server
    const { ids, log, router, now } = server
    this.#queues = new DestinationQueues({
      store,
      table: 'component_queue',
      ids,
      log,
      limits: name => this.#components.get(name)?.settings.queue ?? LEFT_OVER,
      bounced: (name, stanza, reason, entry) => {
        this.#tell('peer_message_bounced', name, entry)
        void router.bounce(stanza, reason, { lasting: true })
      },
      acknowledged: (name, entry) => this.#tell('peer_message_accepted', name, entry),
      now,
    })
  }

  get(domain: string): Component | undefined {
    return this.#components.get(domain)
  }

  [Symbol.iterator](): IterableIterator<Component> {
    return this.#components.values()
  }

  /** Messages that wait for components, or are on their way to them. */
  get waiting(): number {
    return this.#queues.total.messages
  }

  /** At a start: what waits is looked after, for whomever it is. */
  async open(): Promise<void> {
    for (const name of await this.#queues.keys()) await this.#queue(name)
  }

  /** Resolves when all that is queued is durable. */
  flush(): Promise<void> {
    return this.#queues.flush()
  }

  /** The same. Nothing is given up from here on. */
  async close(): Promise<void> {
    await this.flush()
    for (const queue of this.#open.values()) queue.close()
  }

  /**
   * Makes the domains that are new known to the router. What comes back makes the rest of the change, which cannot fail, or
   * takes back what was done. Rejects with an OptionError where a domain is served already.
   */
  async prepare(wanted: readonly ComponentSettings[]): Promise<{ apply(): void; undo(): void }> {
    const { router } = this.#server
    const added: Component[] = []
    const undo = (): void => {
      for (const component of added) router.remove(component)
    }
    for (const settings of wanted) {
      if (this.#components.has(settings.name)) continue
      const queue = await this.#queue(settings.name)
      const queued = (entry: Entry): void => this.#tell('peer_message_queued', settings.name, entry)
      const component = new Component(settings, queue, queued, this.#server)
      try {
        router.add(component)
      } catch (error) {
        undo()
        throw new OptionError(settings.path, error instanceof Error ? error.message : String(error), error)
      }
      added.push(component)
    }
    const apply = (): void => {
      for (const component of added) this.#components.set(component.name, component)
      const names = new Map(wanted.map(settings => [settings.name, settings]))
      for (const component of [...this.#components.values()]) {
        const settings = names.get(component.name)
        if (settings !== undefined) component.configure(settings)
        else this.#remove(component)
      }
    }
    return { apply, undo }
  }

  async #queue(name: string): Promise<DestinationQueue> {
    let queue = this.#open.get(name)
    if (queue === undefined) this.#open.set(name, (queue = await this.#queues.open(name)))
    return queue
  }

  /** The host of its sender, where that is one of this server. */
  #tell(hook: PeerMessageHook, remote: string, { about, id }: Entry): void {
    const { from } = about!
    const local = from.slice(from.lastIndexOf('@') + 1)
    const hooks = this.#server.router.hosts.get(local)?.hooks
    if (hooks?.has(hook) === true) hooks.notify(hook, { about: about!, local, remote, id })
  }

  #remove(component: Component): void {
    this.#components.delete(component.name)
    this.#server.router.remove(component)
    component.end(new StreamError('host-gone', 'this component is not served here any more'))
  }
}
