import { getCACertificates } from 'node:tls'
import { pemBlocks, readPem, reason, repeat, stampOf, TlsError } from './certificates.ts'
import { type Anchors, type Link, linkOf } from './chain.ts'
import type { TlsLog } from './tls.ts'

const OPTION = 's2s.ca_file'

interface Loaded {
  readonly file: string | undefined
  /** Says which state of the file this is. */
  readonly stamp: string | undefined
  readonly byName: ReadonlyMap<string, readonly Link[]>
  /** DER as latin1, of what the operator has named. */
  readonly own: ReadonlySet<string>
}

/**
 * Who is trusted to say who another server is: the authorities of the system, or Node's where the system has none (a container
 * without them), those of NODE_EXTRA_CA_CERTS, and those of `s2s.ca_file`. A certificate in that file may also be that of a
 * server itself, self-signed or not, which is then trusted as it is.
 */
export class Authorities implements Anchors {
  readonly #log: TlsLog
  #loaded: Loaded = { file: undefined, stamp: undefined, byName: new Map(), own: new Set() }
  /** The last failure to read the file again, so that it is logged once. */
  #failure: string | undefined

  /** @throws TlsError */
  static async load(file: string | undefined, log: TlsLog): Promise<Authorities> {
    const authorities = new Authorities(log)
    const use = await authorities.prepare(file)
    use()
    return authorities
  }

  private constructor(log: TlsLog) {
    this.#log = log
  }

  named(name: string): readonly Link[] {
    return this.#loaded.byName.get(name) ?? []
  }

  has(certificate: Buffer): boolean {
    return this.#loaded.own.has(certificate.toString('latin1'))
  }

  /**
   * Trusts what a file says in place of the one before, but for the last step: that is what it resolves with, and it cannot fail.
   *
   * @throws TlsError; then all stays as it was
   */
  async prepare(file: string | undefined): Promise<() => void> {
    const loaded = await load(file)
    return () => {
      this.#loaded = loaded
      this.#failure = undefined
    }
  }

  /**
   * Checks again and again.
   *
   * @param interval ms
   * @returns what ends it
   */
  watch(interval = 30_000): () => void {
    return repeat(() => this.check(), interval)
  }

  /** Reads the file again if it has changed; where it is bad, what was read before goes on, and the log says why. Never throws. */
  async check(): Promise<void> {
    const before = this.#loaded
    const { file, stamp } = before
    if (file === undefined) return
    try {
      if ((await stampOf({ cert: file }, OPTION)) === stamp) return
      const loaded = await load(file)
      if (this.#loaded !== before) return // a reload was faster
      this.#loaded = loaded
      this.#failure = undefined
      this.#log.info({ file }, 'authorities for other servers read again: their file has changed')
    } catch (error) {
      const failure = reason(error)
      if (failure !== this.#failure) this.#log.error({ file }, `${failure}; what was read before stays in use`)
      this.#failure = failure
    }
  }
}

async function load(file: string | undefined): Promise<Loaded> {
  const stamp = file === undefined ? undefined : await stampOf({ cert: file }, OPTION)
  const own = file === undefined ? [] : await readBundle(file)
  // What of the system's cannot be read vouches for nobody.
  const system = [...new Set(systemAuthorities())].flatMap(pem => linkOf(derOf(pem)) ?? [])
  const byName = new Map<string, Link[]>()
  for (const link of [...system, ...own]) {
    const { subject } = link.certificate
    const named = byName.get(subject)
    if (named === undefined) byName.set(subject, [link])
    else named.push(link)
  }
  return { file, stamp, byName, own: new Set(own.map(link => link.certificate.raw.toString('latin1'))) }
}

function systemAuthorities(): string[] {
  const system = getCACertificates('system')
  return system.length > 0 ? [...system, ...getCACertificates('extra')] : getCACertificates('default')
}

async function readBundle(file: string): Promise<Link[]> {
  const blocks = pemBlocks(await readPem(file, OPTION))
  if (blocks.length === 0) {
    throw new TlsError(`${file}: holds no certificate (-----BEGIN CERTIFICATE-----). Look at the path in ${OPTION}`)
  }
  return blocks.map((block, index) => {
    const link = linkOf(derOf(block))
    if (link === undefined) throw new TlsError(`${file}: certificate ${index + 1} in it is broken`)
    return link
  })
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[A-Z ]+-----/g, ''), 'base64')
}
