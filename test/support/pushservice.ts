/** A push service (XEP-0357 3) as the other side of the wire: a client that answers publications as it is told to. */
import type { RawClient } from './rawclient.ts'
import { child, type XmlElement, xmlText } from './rawxml.ts'
import { nothing } from './talk.ts'
import type { TestServer } from './testserver.ts'

const PUBSUB = 'http://jabber.org/protocol/pubsub'
const PUSH = 'urn:xmpp:push:0'

interface Notification {
  node: string | undefined
  /** The summary form by field. */
  summary: Record<string, string>
  /** The publish options by field, where there are any. */
  options: Record<string, string> | undefined
  /** What the server says of its urgency. */
  priority: string | undefined
  from: string | undefined
}

/** What it answers: it is done, nothing at all, or an error. */
export type Answer = 'result' | 'silence' | { type: string; condition: string }

const isPublication = (el: XmlElement) =>
  el.name === 'iq' && child(child(el, 'pubsub', PUBSUB), 'publish') !== undefined

export class PushService {
  readonly client: RawClient
  answer: Answer = 'result'
  /** Publications that came, answered or not. */
  count = 0

  private constructor(client: RawClient) {
    this.client = client
    client.on('stanza', el => {
      if (!isPublication(el)) return
      this.count++
      this.#reply(el)
    })
  }

  static async start(server: TestServer, user = 'pusher', resource = 'app'): Promise<PushService> {
    return new PushService(await server.client(user, { resource }))
  }

  get jid(): string {
    return this.client.jid
  }

  /** The request of a client to be woken through this service. */
  enable(node: string, options: Record<string, string> = {}): string {
    const fields = Object.entries({ FORM_TYPE: `${PUBSUB}#publish-options`, ...options })
    const form = `<x xmlns='jabber:x:data' type='submit'>${fields
      .map(([name, value]) => `<field var='${xmlText(name)}'><value>${xmlText(value)}</value></field>`)
      .join('')}</x>`
    const content = Object.keys(options).length > 0 ? form : ''
    return `<enable xmlns='${PUSH}' jid='${this.jid}' node='${xmlText(node)}'>${content}</enable>`
  }

  disable(node?: string): string {
    return `<disable xmlns='${PUSH}' jid='${this.jid}'${node === undefined ? '' : ` node='${xmlText(node)}'`}/>`
  }

  async next(timeout?: number): Promise<Notification> {
    const iq = await this.client.receive(isPublication, timeout)
    const pubsub = child(iq, 'pubsub', PUBSUB)
    const publish = child(pubsub, 'publish')
    const notification = child(child(publish, 'item'), 'notification', PUSH)
    const options = child(child(pubsub, 'publish-options'), 'x', 'jabber:x:data')
    return {
      node: publish?.attrs['node'],
      summary: fieldsOf(child(notification, 'x', 'jabber:x:data')),
      options: options && fieldsOf(options),
      priority: child(notification, 'priority')?.text,
      from: iq.attrs['from'],
    }
  }

  /** Nothing came of what these have sent so far. */
  none(...senders: RawClient[]): Promise<void> {
    return nothing(this.client, isPublication, ...senders)
  }

  #reply(iq: XmlElement): void {
    const { answer } = this
    if (answer === 'silence') return
    const { id = '', from = '' } = iq.attrs
    const attrs = `id='${xmlText(id)}' to='${xmlText(from)}'`
    if (answer === 'result') return this.client.send(`<iq type='result' ${attrs}/>`)
    const condition = `<${answer.condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>`
    this.client.send(`<iq type='error' ${attrs}><error type='${answer.type}'>${condition}</error></iq>`)
  }
}

function fieldsOf(form: XmlElement | undefined): Record<string, string> {
  const fields = form?.children.filter(el => el.name === 'field') ?? []
  return Object.fromEntries(fields.map(field => [field.attrs['var'] ?? '', child(field, 'value')?.text ?? '']))
}
