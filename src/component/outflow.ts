import type { Entry } from '../core/queue/entry.ts'
import { Outbox } from '../core/queue/outbox.ts'
import type { XmppStream } from '../stream/stream.ts'
import { NS } from '../xml/index.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'

/** Messages that are unconfirmed, and bytes of them, at which a component gets no more queued ones for now. */
const WINDOW = 1000
const WINDOW_BYTES = 2 * 1024 * 1024
/** So many times that, and it is taken for dead. */
const TOO_MUCH = 4
/** Bytes that it may leave unread before it gets no more queued messages for now. */
const FULL_BACKLOG = 512 * 1024
/** How many messages, and how long (ms), before it is asked whether it has them. */
const ASK_EVERY = 100
const ASK_AFTER = 250
const PING_ID = 'hermod-ack-'

/** What is known of a component, over all of its connections. */
export interface Habits {
  /** Whether it answers pings; undefined while that is not known. */
  answers: boolean | undefined
}

export interface OutflowOptions {
  readonly stream: XmppStream
  readonly component: Jid
  /** In whose name it is asked. */
  readonly by: () => string
  readonly habits: Habits
  /** Ms that it has for an answer; `Infinity`: any time. */
  readonly patience: () => number
  /** It has these. */
  readonly confirm: (entry: Entry) => void
  /** It answers nothing at all. */
  readonly deaf: () => void
}

/**
 * The queued messages that one connection of a component was sent and has not confirmed (the promise). Components know no
 * acknowledgements (XEP-0114): a ping is sent after the messages, and whatever is answered, even an error, they were read.
 * Where a component has never answered one, a message counts as read when the connection still stands after a while.
 */
export class Outflow {
  readonly #outbox = new Outbox()
  readonly #options: OutflowOptions
  #count = 0
  #timer: NodeJS.Timeout | undefined
  #deadline: NodeJS.Timeout | undefined
  #asked = false
  #covers = 0
  #serial = 0
  #waiting: ((room: boolean) => void)[] = []
  #ended = false

  constructor(options: OutflowOptions) {
    this.#options = options
  }

  get full(): boolean {
    const { size, bytes } = this.#outbox
    return size >= WINDOW || bytes >= WINDOW_BYTES || this.#options.stream.transport.backlog > FULL_BACKLOG
  }

  /** Resolves when there is room, or it has ended. */
  room(): Promise<boolean> {
    if (this.#ended || !this.full) return Promise.resolve(!this.#ended)
    this.#ask()
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  /** Something was confirmed or read. */
  drained(): void {
    if (this.#waiting.length === 0 || (this.full && !this.#ended)) return
    for (const resolve of this.#waiting.splice(0)) resolve(!this.#ended)
  }

  /** A message is on the stream. */
  sent(entry: Entry): void {
    this.#outbox.push({ text: undefined, entry, lost: undefined })
    // Where the sender waits for it to be safe, the component is asked when it is: what it has confirmed before a crash, it
    // does not get twice.
    if (entry.committed || entry.origin === undefined) this.due()
    const { size, bytes } = this.#outbox
    if (size > TOO_MUCH * WINDOW || bytes > TOO_MUCH * WINDOW_BYTES) {
      this.#options.stream.abandon('the component does not confirm what it gets')
    }
  }

  /** Something unconfirmed is out: ask, soon. */
  due(): void {
    if (this.#outbox.size === 0) return
    this.#count++
    if (this.#asked) return
    if (this.#count >= ASK_EVERY) this.#ask()
    else this.#timer ??= setTimeout(() => this.#ask(), ASK_AFTER)
  }

  #ask(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#asked || this.#ended || this.#outbox.size === 0) return
    const { stream, component, by } = this.#options
    this.#count = 0
    this.#asked = true
    this.#covers = this.#outbox.size
    const id = `${PING_ID}${++this.#serial}`
    stream.send(`<iq type='get' id='${id}' from='${by()}' to='${component}'><ping xmlns='${NS.PING}'/></iq>`)
    this.#expect()
  }

  #expect(): void {
    const patience = this.#options.patience()
    if (!Number.isFinite(patience)) return
    const heard = this.#options.stream.bytesRead
    this.#deadline = setTimeout(() => this.#unanswered(heard), patience)
    this.#deadline.unref()
  }

  /** Whether an iq answers a ping of ours; if so, what was sent before it is confirmed. */
  answered({ id, from, to }: Stanza): boolean {
    if (id?.startsWith(PING_ID) !== true || !from.equals(this.#options.component)) return false
    if (to?.toString() !== this.#options.by()) return false
    if (!this.#asked || id !== `${PING_ID}${this.#serial}`) return true // late
    this.#options.habits.answers = true
    this.#covered()
    return true
  }

  #covered(): void {
    this.#asked = false
    clearTimeout(this.#deadline)
    const items = this.#outbox.take(Math.min(this.#covers, this.#outbox.size))
    for (const { entry } of items) this.#options.confirm(entry!)
    this.drained()
    if (this.#count > 0 || this.#outbox.size > 0) this.due()
  }

  /** `heard`: bytes that had come when it was asked. */
  #unanswered(heard: number): void {
    const { stream, habits, deaf } = this.#options
    if (habits.answers === true) {
      if (stream.bytesRead === heard) return stream.abandon('the component does not answer')
      return this.#expect()
    }
    if (habits.answers === undefined) deaf()
    habits.answers = false
    this.#covered()
  }

  /** The connection is over: what it has not confirmed. */
  end(): Entry[] {
    this.#ended = true
    clearTimeout(this.#timer)
    clearTimeout(this.#deadline)
    this.drained()
    return this.#outbox.take(this.#outbox.size).map(({ entry }) => entry!)
  }
}
