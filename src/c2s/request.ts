import type { ScramHash } from '../auth/derive.ts'
import type { UserAgent } from '../auth/devices.ts'
import { cut, isTrue } from '../util/text.ts'
import { childText, type Element, findChild, findChildren, NS, textOf } from '../xml/index.ts'

/** What a client asks for along with its login (XEP-0388 2.3). */
export interface LoginRequest {
  agent: UserAgent | undefined
  /** XEP-0198: wants its session back. */
  resume: Element | undefined
  /** XEP-0386: wants a resource. */
  bind: Element | undefined
  /** XEP-0484: logs in by a token. */
  fast: { count: number | undefined; invalidate: boolean } | undefined
  /** XEP-0484: wants a token for this mechanism. */
  requestToken: string | undefined
  /** XEP-0480: offers keys under these hashes. */
  upgrades: ScramHash[]
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
/** UTF-16 units that are kept of what a client calls itself. */
const MAX_NAME = 200
const TASK = 'UPGR-SCRAM-'

/** Reads `<authenticate/>`; a text says what is wrong with it. */
export function readRequest(el: Element): LoginRequest | string {
  const userAgent = findChild(el, 'user-agent')
  const id = userAgent?.attrs['id']
  if (id !== undefined && !UUID.test(id)) return 'the id of a user-agent is a UUID'
  const fast = findChild(el, 'fast', NS.FAST)
  const count = fast?.attrs['count']
  if (count !== undefined && !/^\d{1,10}$/.test(count)) return 'a count is a number'
  return {
    agent: id === undefined ? undefined : { id: id.toLowerCase(), ...named(userAgent!) },
    resume: findChild(el, 'resume', NS.SM),
    bind: findChild(el, 'bind', NS.BIND2),
    fast: fast && {
      count: count === undefined ? undefined : Number(count),
      invalidate: isTrue(fast.attrs['invalidate']),
    },
    requestToken: findChild(el, 'request-token', NS.FAST)?.attrs['mechanism'],
    upgrades: findChildren(el, 'upgrade', NS.SASL_UPGRADE)
      .map(upgrade => textOf(upgrade).trim())
      .filter(task => task.startsWith(TASK))
      .map(task => task.slice(TASK.length) as ScramHash),
  }
}

/** The name of the task that brings keys under a hash (XEP-0480 2.1). */
export function taskName(hash: ScramHash): string {
  return `UPGR-SCRAM-${hash}`
}

function named(userAgent: Element): { software?: string; device?: string } {
  const software = name(userAgent, 'software')
  const device = name(userAgent, 'device')
  return { ...(software === '' ? {} : { software }), ...(device === '' ? {} : { device }) }
}

function name(userAgent: Element, child: string): string {
  const text = (childText(userAgent, child) ?? '').trim()
  return cut(text, MAX_NAME)
}
