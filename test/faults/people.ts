/** The people of the fault tests: senders and recipients who behave as good clients do, on networks that do not. */

import { randomUUID } from 'node:crypto'
import type { ServerProcess } from '../support/launched.ts'
import { type Outgoing, RawClient, type StreamManagement } from '../support/rawclient.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import type { Ledger, Session } from './ledger.ts'

export interface Surroundings {
  readonly ledger: Ledger
  /** ms a person tries to get back in before giving up for good. */
  readonly patience: number
  /** Senders say which device they are, which needs TLS: then they are known again under another resource. */
  readonly namedSenders: boolean
  /** Recipients enable stream management when they have messages already. */
  readonly lateEnable: boolean
  /** Set when a server ended by itself: there is no point in trying on. */
  hopeless(): string | undefined
}

export type Return = 'resume' | 'fresh' | 'elsewhere'

const PASSWORD = 'secret'
/** Messages a sender has open before it waits for an acknowledgement. */
const WINDOW = 400

/** Someone with an account. At any time: `ready` (online, as far as they know), or away, or on the way back. */
export abstract class Person {
  readonly name: string
  readonly sm: boolean
  /** Online as far as they know: faults are for those who are. */
  ready = false
  /** Resumptions the server refused, and granted. */
  refused = 0
  resumed = 0
  protected device: string | undefined
  protected late = false
  /** The server that has the account. */
  readonly home: ServerProcess
  protected readonly around: Surroundings
  protected client: RawClient | undefined
  protected stream: StreamManagement | undefined
  private readonly zombies: RawClient[] = []
  private resource = 0
  private coming: Promise<void> | undefined

  constructor(around: Surroundings, name: string, home: ServerProcess, sm: boolean) {
    this.around = around
    this.name = name
    this.home = home
    this.sm = sm
  }

  get account(): string {
    return `${this.name}@${this.home.domain}`
  }

  async register(): Promise<void> {
    const { ip, port, domain } = this.home
    await RawClient.register({ host: ip, port, domain }, this.name, PASSWORD)
  }

  /** Loses the network: cut by FIN or RST, or silent (the old socket stays open until `bury`). */
  lose(how: 'fin' | 'rst' | 'silent'): void {
    this.ready = false
    this.around.ledger.event(this.name, how === 'silent' ? 'falls silent' : `is cut (${how})`)
    const { client } = this
    if (how !== 'silent') {
      client?.cut(how)
    } else if (client) {
      client.fallSilent()
      this.zombies.push(client)
    }
  }

  /** Logs out in order. */
  async leave(): Promise<void> {
    await this.coming
    this.ready = false
    const client = this.client
    if (!client) return
    const answered = await client.close()
    this.around.ledger.event(this.name, answered ? 'logged out' : 'closed, without an answer')
    this.over(answered)
    this.stream = undefined
  }

  /** Comes back, trying until the server lets them in: by resumption (if refused, fresh), or fresh, same resource or another. */
  arrive(how: Return): Promise<void> {
    // Two faults may have hit the same person: whoever is back need not come back again, beside themselves.
    if (this.ready) return Promise.resolve()
    this.coming ??= this.enter(how).finally(() => {
      this.coming = undefined
    })
    return this.coming
  }

  /** Drops the sockets of those who fell silent. */
  bury(): void {
    for (const zombie of this.zombies.splice(0)) zombie.cut('rst')
  }

  /** Cuts everything, for the end of the test. */
  drop(): void {
    this.ready = false
    this.client?.cut()
    this.bury()
  }

  /** The old session will not be resumed (or was closed in order): whatever it left is another session's business. */
  protected abstract over(inOrder: boolean): void
  /** A new session is bound; nothing has been sent on it. */
  protected abstract begin(client: RawClient): void
  /** The session goes on, on a new connection, and the server has read h. */
  protected abstract goOn(h: number): void
  protected abstract onStanza(client: RawClient, el: XmlElement): void
  protected abstract onAcked(stanzas: Outgoing[], how: string): void

  private async enter(how: Return): Promise<void> {
    if (how === 'elsewhere') this.resource++
    const deadline = performance.now() + this.around.patience
    let resume = how === 'resume'
    for (;;) {
      const hopeless = this.around.hopeless()
      if (hopeless) throw new Error(hopeless)
      let client: RawClient | undefined
      try {
        client = await this.connect()
        await this.settleIn(client, resume)
        return
      } catch (error) {
        client?.cut()
        // The new session was there before its connection broke.
        if (client && client === this.client) resume = true
        if (performance.now() > deadline) throw new Error(`${this.name} cannot get back in: ${String(error)}`)
        await new Promise(resolve => setTimeout(resolve, 30))
      }
    }
  }

  private async connect(): Promise<RawClient> {
    const { ip, port, domain } = this.home
    const tls = this.device === undefined ? 'none' : 'starttls'
    const client = await RawClient.connect({ host: ip, port, domain, tls, inbox: false })
    client.on('violation', what => this.around.ledger.violation(this.name, what))
    client.on('stanza', el => this.onStanza(client, el))
    client.on('acked', (stanzas, by) => this.onAcked(stanzas, by))
    client.on('closed', why => this.onClosed(client, why))
    await client.login({ user: this.name, password: PASSWORD, device: this.device })
    return client
  }

  private async settleIn(client: RawClient, resume: boolean): Promise<void> {
    const { stream } = this
    if (resume && stream?.resumable) {
      const told = stream.handled
      if (await client.resume(stream)) {
        this.resumed++
        this.around.ledger.event(this.name, `resumed, told h=${told}, server has ${stream.acked}`)
        this.client = client
        this.goOn(told)
        this.online(client)
        return
      }
      this.refused++
      this.around.ledger.event(this.name, 'resumption refused')
    }
    const jid = await client.bind(`r${this.resource}`)
    const fresh = this.sm && !this.late ? await client.enable() : undefined
    this.over(false)
    this.around.ledger.event(this.name, `new session ${jid}`)
    this.client = client
    this.stream = fresh
    client.send('<presence/>')
    this.begin(client)
    if (this.late) {
      await client.ping()
      this.stream = await client.enable()
    }
    this.online(client)
  }

  private online(client: RawClient): void {
    if (client.closed) throw new Error('lost again at once')
    this.ready = true
  }

  /** A connection lost that no fault of ours took: the server is down, or closed it. A good client resumes. */
  private onClosed(client: RawClient, why: string): void {
    if (client !== this.client || !this.ready) return
    this.ready = false
    this.around.ledger.event(this.name, `lost the connection: ${why}`)
    // A failure to come back shows in the ledger's end: whoever is not ready then is brought back, and may fail aloud.
    void this.arrive('resume').catch(error => this.around.ledger.event(this.name, String(error)))
  }
}

export class Sender extends Person {
  private sinceAsked = 0
  private owed: Outgoing[] = []

  constructor(around: Surroundings, name: string, home: ServerProcess) {
    super(around, name, home, true)
    if (around.namedSenders) this.device = randomUUID()
  }

  /** Messages sent and not acknowledged. */
  get open(): number {
    return this.stream ? this.stream.unacked.filter(s => s.tag !== undefined).length : 0
  }

  /** Sends a new message, unless away or too far ahead of the server. */
  say(recipient: Recipient, id: string): void {
    if (!this.able) return
    const { serial } = this.around.ledger.open(id, this.name, recipient.name, this.home.domain)
    const body = `${id} ${this.name} ${recipient.name} ${serial}`
    const xml = `<message to='${recipient.account}' type='chat' id='${id}'><body>${body}</body></message>`
    this.around.ledger.note(id, `sent by ${this.name} to ${recipient.name}, number ${serial}`)
    this.put(xml, id)
  }

  protected put(xml: string, tag: string): void {
    this.client?.send(xml, tag)
    if (++this.sinceAsked >= 5) this.ask()
  }

  protected get able(): boolean {
    return this.ready && this.client !== undefined && this.open < WINDOW
  }

  /** What hermod knows of a message to someone: `queued`, `accepted`... */
  async stateOf(id: string, recipient: string): Promise<string | undefined> {
    const asked = `<states xmlns='urn:hermod:message-states:0' with='${recipient}'><message id='${id}'/></states>`
    const answer = await this.client?.request('get', asked)
    return child(child(answer, 'states'), 'message')?.attrs['state']
  }

  /** Asks for an acknowledgement of what was not asked for yet. */
  askForRest(): void {
    if (this.sinceAsked > 0) this.ask()
  }

  ask(): void {
    this.sinceAsked = 0
    if (this.ready) this.client?.askAck()
  }

  protected over(): void {
    if (this.stream) this.owed = this.stream.unacked.filter(s => s.tag !== undefined)
  }

  /** As a real client: what was not acknowledged goes out again, in order, with the same ids, before anything new. */
  protected begin(client: RawClient): void {
    for (const { xml, tag } of this.owed.splice(0)) {
      this.around.ledger.note(tag!, `sent again by ${this.name} in a new session`)
      client.send(xml, tag)
    }
    client.askAck()
  }

  protected goOn(): void {
    for (const { tag } of this.stream?.unacked ?? []) {
      if (tag) this.around.ledger.note(tag, `sent again by ${this.name} after resuming`)
    }
    this.ask()
  }

  protected onStanza(_client: RawClient, el: XmlElement): void {
    if (el.name !== 'message' || el.attrs['type'] !== 'error') return
    this.around.ledger.bounced(el.attrs['id'] ?? '', errorCondition(el))
  }

  protected onAcked(stanzas: Outgoing[], how: string): void {
    for (const { tag } of stanzas) if (tag) this.around.ledger.acked(tag, how)
  }
}

/** What a bot says that has one thing to say, and one id for it. */
const ALARM = 'backup failed!'

/** Says the same to each, always, under the same id: every one of them counts, as soon as the server took it over. */
export class Repeater extends Sender {
  override say(recipient: Recipient): void {
    if (!this.able) return
    const body = `${ALARM} ${this.name} ${recipient.name}`
    const pair = `${this.name} ${recipient.name}`
    this.around.ledger.repeated(pair).sent++
    this.put(`<message to='${recipient.account}' type='chat' id='1'><body>${body}</body></message>`, pair)
  }

  protected override onStanza(_client: RawClient, el: XmlElement): void {
    if (el.name !== 'message' || el.attrs['type'] !== 'error') return
    const to = el.attrs['from']?.split('@')[0] ?? ''
    this.around.ledger.repeated(`${this.name} ${to}`).refused++
  }

  protected override onAcked(stanzas: Outgoing[]): void {
    for (const { tag } of stanzas) if (tag) this.around.ledger.repeated(tag).acked++
  }
}

export class Recipient extends Person {
  private session: Session | undefined
  private sessions = 0
  /** Stanzas received, and those told to the server, in a session without stream management. */
  private received = 0
  private told = 0

  constructor(around: Surroundings, name: string, home: ServerProcess, sm: boolean) {
    super(around, name, home, sm)
    this.late = sm && around.lateEnable
  }

  /** Pings the server; when answered, what had been told before is known to have been read. */
  async ping(): Promise<void> {
    const { client, session } = this
    if (!this.ready || !client || !session) return
    const told = this.stream ? this.stream.told : this.told
    await client.ping()
    this.around.ledger.confirm(session, told)
  }

  override async leave(): Promise<void> {
    // `<a/>` goes out before `</stream:stream>`, and covers what came until now.
    if (this.stream) this.told = this.stream.handled
    await super.leave()
  }

  protected over(inOrder: boolean): void {
    if (!this.session) return
    // Without stream management the close itself says that all was read, up to the server's own close.
    if (inOrder) this.around.ledger.confirm(this.session, this.stream ? this.told : this.received)
    this.around.ledger.end(this.session)
    this.session = undefined
  }

  protected begin(): void {
    this.received = 0
    this.told = 0
    this.session = this.around.ledger.session(this.name, `${this.name}#${++this.sessions}`, this.home.domain)
  }

  protected goOn(h: number): void {
    if (this.session) this.around.ledger.confirm(this.session, h)
  }

  protected onStanza(client: RawClient, el: XmlElement): void {
    this.received++
    if (el.name === 'iq' && el.attrs['type'] === 'get') this.told = this.received
    if (el.name !== 'message' || el.attrs['type'] === 'error' || !child(el, 'body')) return
    const { ledger } = this.around
    const id = el.attrs['id'] ?? ''
    const by = this.account
    const stanzaId = el.children.find(c => c.name === 'stanza-id' && c.attrs['by'] === by)?.attrs['id']
    const text = child(el, 'body')?.text ?? ''
    if (text.startsWith(ALARM)) {
      ledger.repeated(text.slice(ALARM.length + 1)).copies.add(stanzaId ?? `${this.name} ${this.received}`)
      return
    }
    const [bodyId, sender, recipient] = text.split(' ')
    if (bodyId !== id || recipient !== this.name || !el.attrs['from']?.startsWith(`${sender}@`)) {
      ledger.violation(this.name, `received a changed message: ${id}`)
    }
    if (!this.session) {
      ledger.violation(this.name, `received ${id} outside of a session`)
      return
    }
    // What came before stream management is covered by whatever is acknowledged first.
    const n = this.sm ? Math.max(1, client.sm?.handled ?? 0) : this.received
    ledger.received(id, this.session, n, stanzaId)
  }

  protected onAcked(): void {}
}
