/** A client made with xmpp.js, as bots are. */
import { client, xml } from '@xmpp/client'

export interface El {
  name: string
  attrs: Record<string, string | undefined>
  children: (El | string)[]
  is(name: string): boolean
  getChild(name: string, ns?: string): El | undefined
  getChildren(name: string, ns?: string): El[]
  getChildText(name: string): string | null
  text(): string
}

interface BotOptions {
  port: number
  domain: string
}

/** A bot made with xmpp.js, logged in over STARTTLS, that remembers what it got. */
export class Bot {
  readonly xmpp: ReturnType<typeof client>
  readonly got: El[] = []
  #waiting: { matches: (el: El) => boolean; resolve: (el: El) => void }[] = []

  readonly domain: string

  constructor({ port, domain }: BotOptions, user: string, resource: string) {
    this.domain = domain
    this.xmpp = client({
      service: `xmpp://127.0.0.1:${port}`,
      domain,
      username: user,
      password: 'secret',
      resource,
    })
    this.xmpp.on('error', () => {}) // the server is killed in between
    this.xmpp.on('stanza', (el: El) => {
      this.got.push(el)
      for (const waiter of this.#waiting.filter(w => w.matches(el))) waiter.resolve(el)
      this.#waiting = this.#waiting.filter(w => !w.matches(el))
    })
  }

  async start(): Promise<this> {
    await this.xmpp.start()
    await this.xmpp.send(xml('presence'))
    return this
  }

  send(type: string, name: string, attrs: Record<string, string>, ...children: unknown[]): Promise<void> {
    return this.xmpp.send(xml(name, { ...attrs, type }, ...children))
  }

  say(to: string, text: string): Promise<void> {
    return this.send('chat', 'message', { to: `${to}@${this.domain}`, id: crypto.randomUUID() }, xml('body', {}, text))
  }

  receive(matches: (el: El) => boolean): Promise<El> {
    const there = this.got.find(matches)
    if (there !== undefined) return Promise.resolve(there)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not received; got ${this.got.join('\n')}`)), 10_000)
      this.#waiting.push({
        matches,
        resolve: el => {
          clearTimeout(timer)
          resolve(el)
        },
      })
    })
  }

  hears(text: string): Promise<El> {
    return this.receive(el => el.is('message') && el.getChildText('body') === text)
  }

  /** Asks its own account, or `to`; resolves with the answer, rejects with an error. */
  ask(type: 'get' | 'set', payload: unknown, to?: string): Promise<El> {
    return this.xmpp.iqCaller.request(xml('iq', { type, ...(to === undefined ? {} : { to }) }, payload)) as Promise<El>
  }
}
