import { findChild, NS, parseElement } from '../../xml/index.ts'
import type { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import type { Notice } from './notice.ts'
import type { Registration } from './registration.ts'

/** Publications that may be on their way to one device; beyond them, the next one tells of all that came meanwhile. */
const MAX_IN_FLIGHT = 8
/** Longest time (ms) between two attempts at a service that fails. */
const MAX_PAUSE = 6 * 3_600_000

/** Conditions that tell of a service's trouble, not of its will: XEP-0357 7.1 lets us keep the registration. */
const PASSING = new Set([
  'internal-server-error',
  'recipient-unavailable',
  'remote-server-not-found',
  'remote-server-timeout',
  'resource-constraint',
  'service-unavailable',
])

interface TargetSettings {
  /** ms before a service that failed is tried again; twice as long after each further failure. */
  readonly retryAfter: number
  /** Failures in a row after which a registration is given up. */
  readonly maxErrors: number
}

/** What a target needs of its surroundings. */
export interface Surroundings {
  readonly settings: TargetSettings
  /** Publishes; the service's answer, or undefined if there is none in time. `busy`: too much is on its way already. */
  publish(target: Target, notice: Notice): Promise<Stanza | undefined> | 'busy'
  /** What to tell after a pause in place of the newest notice that fell into it; undefined where nothing waits any more. */
  outstanding(target: Target, notice: Notice): Notice | undefined
  /** The newest message that the device was told of has changed. */
  told(target: Target): void
  /** The service wants no more of it. */
  refused(target: Target, reason: string): void
}

/** A device that is woken through its push service: one registration (XEP-0357). */
export class Target {
  readonly jid: Jid
  readonly node: string
  registration: Registration
  readonly #around: Surroundings
  #inFlight = 0
  /** The newest notice that could not go out yet. */
  #next: Notice | undefined
  #failures = 0
  #pause: NodeJS.Timeout | undefined
  #stopped = false

  constructor(jid: Jid, node: string, registration: Registration, around: Surroundings) {
    this.jid = jid
    this.node = node
    this.registration = registration
    this.#around = around
  }

  /** The registration was enabled again, perhaps with other options: a service that failed gets another chance. */
  renew(registration: Registration): void {
    this.registration = registration
    this.#failures = 0
    clearTimeout(this.#pause)
    this.#pause = undefined
    this.#follow()
  }

  tell(notice: Notice): void {
    if (this.#stopped) return
    const room = this.#failures === 0 ? MAX_IN_FLIGHT : 1
    if (this.#pause !== undefined || this.#inFlight >= room) {
      this.#next = notice
      return
    }
    const answer = this.#around.publish(this, notice)
    if (answer === 'busy') {
      this.#next = notice
      this.#wait(this.#around.settings.retryAfter)
      return
    }
    this.#inFlight++
    void answer.then(stanza => {
      this.#inFlight--
      if (!this.#stopped) this.#answered(stanza, notice)
    })
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#pause)
    this.#next = undefined
  }

  #answered(answer: Stanza | undefined, notice: Notice): void {
    if (answer?.type === 'result') {
      this.#failures = 0
      if (notice.id !== undefined && notice.id > this.registration.told) {
        this.registration = { ...this.registration, told: notice.id }
        this.#around.told(this)
      }
      return this.#follow()
    }
    const refusal = answer === undefined ? undefined : permanent(answer)
    if (refusal !== undefined) return this.#around.refused(this, refusal)
    this.#next ??= notice
    if (this.#pause !== undefined) return // one of several that failed together
    this.#failures++
    const { retryAfter, maxErrors } = this.#around.settings
    if (this.#failures >= maxErrors) return this.#around.refused(this, `${this.#failures} failures in a row`)
    this.#wait(Math.min(retryAfter * 2 ** (this.#failures - 1), MAX_PAUSE))
  }

  #wait(ms: number): void {
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      this.#follow()
    }, ms)
    this.#pause.unref()
  }

  /** What had to wait goes out, unless it has been delivered meanwhile. */
  #follow(): void {
    const missed = this.#next
    this.#next = undefined
    const notice = missed && this.#around.outstanding(this, missed)
    if (notice !== undefined) this.tell(notice)
  }

  /** The publish options, as the service wants them. */
  get options() {
    const { form } = this.registration
    return form === undefined ? undefined : parseElement(form)
  }
}

/** Why a service refuses for good (XEP-0357 7.1); undefined where it may work later. */
function permanent(answer: Stanza): string | undefined {
  const error = findChild(answer.el, 'error')
  if (error?.attrs['type'] === 'wait') return undefined
  const condition = error?.children.find(
    child => typeof child !== 'string' && child.attrs['xmlns'] === NS.STANZAS && child.name !== 'text',
  )
  const name = condition === undefined || typeof condition === 'string' ? 'undefined-condition' : condition.name
  return PASSING.has(name) ? undefined : name
}
