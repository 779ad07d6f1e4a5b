import type { Credentials } from '../auth/credentials.ts'
import { SCRAM_HASHES, type ScramHash, scramKeys } from '../auth/derive.ts'
import { decodeBase64Strict, type SaslSuccess } from '../auth/exchange.ts'
import { childText, type Element, NS, xml } from '../xml/index.ts'
import { taskName } from './request.ts'

/**
 * What a client does for its account between its login and the success (XEP-0480): it brings keys under hashes that the
 * account lacks, one after the other. Nobody can tell whether they come from the same password; but who is here has shown
 * that it knows the password, and changing that makes an end of them.
 */
export class UpgradeTasks {
  readonly success: SaslSuccess
  readonly #credentials: Credentials
  readonly #left: ScramHash[]
  #salt: { salt: Buffer; iterations: number } | undefined

  /** @param left one hash or more */
  constructor(credentials: Credentials, success: SaslSuccess, left: ScramHash[]) {
    this.#credentials = credentials
    this.success = success
    this.#left = left
  }

  /** The name of the next task; undefined when all are done. */
  get next(): string | undefined {
    const hash = this.#left[0]
    return hash && taskName(hash)
  }

  /** The client begins a task: `<salt/>` for it. Undefined if it is not the next one. */
  start(name: string | undefined): Element | undefined {
    if (this.#salt !== undefined || name === undefined || name !== this.next) return undefined
    this.#salt = this.#credentials.freshSalt()
    const { salt, iterations } = this.#salt
    const attrs = { xmlns: NS.SCRAM_UPGRADE, iterations: String(iterations) }
    return xml('salt', attrs, salt.toString('base64'))
  }

  /** The client's `<task-data/>`, which ends the task; false if it is not what was asked for. */
  async complete(data: Element): Promise<boolean> {
    const hash = this.#left[0]
    const fresh = this.#salt
    const salted = decodeBase64Strict((childText(data, 'hash', NS.SCRAM_UPGRADE) ?? '').trim())
    if (hash === undefined || fresh === undefined || salted?.length !== SCRAM_HASHES[hash].bytes) return false
    this.#left.shift()
    this.#salt = undefined
    const keys = scramKeys(hash, salted, fresh.salt, fresh.iterations)
    await this.#credentials.addKeys(this.success.user, this.success.stamp, hash, keys)
    return true
  }
}
