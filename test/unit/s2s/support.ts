/** What talks with other servers, without the rest of a server: what is said to it is kept, and it says what a test says. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import type { Config } from '../../../src/config/core.ts'
import { hostOptions, listenOptions, serverOptions } from '../../../src/config/core.ts'
import { parseOptions } from '../../../src/config/validate.ts'
import { createLog } from '../../../src/core/log.ts'
import { Router } from '../../../src/core/router.ts'
import { Federating, peerCredentials } from '../../../src/federating.ts'
import { PreLoginBudget } from '../../../src/net/prelogin.ts'
import { TlsContexts } from '../../../src/net/tls.ts'
import { Flusher } from '../../../src/net/transport.ts'
import { PairSet } from '../../../src/s2s/pair.ts'
import type { Talks } from '../../../src/s2s/server.ts'
import type { Talk, Wire } from '../../../src/s2s/wire.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { Rounds } from '../../../src/stream/rounds.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import type { Element } from '../../../src/xml/index.ts'
import type { Stanza } from '../../../src/xmpp/stanza.ts'
import { selfSignedLeaf, TestCa } from '../../support/ca.ts'
import { DnsServer } from '../../support/dns.ts'
import { emptyFolder } from '../../support/folder.ts'

/** A conversation that keeps what it is told. */
export class HeardTalk implements Talk {
  readonly receives = new PairSet()
  readonly sends = new PairSet()
  resumeId: string | undefined
  wire: Wire | undefined
  how: string | undefined
  readonly heard: string[] = []
  quiet = true
  h = 0
  readonly #notify: () => void

  constructor(notify: () => void) {
    this.#notify = notify
  }

  #hear(what: string): void {
    this.heard.push(what)
    this.#notify()
  }

  open(wire: Wire, how: 'sm' | 'ping'): void {
    this.wire = wire
    this.how = how
    this.#hear(`open ${how}`)
  }
  receive(stanza: Stanza | undefined): void {
    this.h++
    this.#hear(stanza === undefined ? 'refused' : stanza.toString())
  }
  requested(): void {
    this.#hear('r')
  }
  acknowledged(el: Element): void {
    this.#hear(`a ${el.attrs['h']}`)
  }
  drained(): void {}
  settled(): Promise<void> {
    return Promise.resolve()
  }
  parted(_: Wire, reason: string): void {
    this.#hear(`parted: ${reason}`)
  }
  resumed(wire: Wire, h: number): void {
    this.wire = wire
    this.#hear(`resumed ${h}`)
  }
  over(h?: number): void {
    this.#hear(h === undefined ? 'over' : `over ${h}`)
  }
}

export class HeardTalks implements Talks {
  readonly begun: HeardTalk[] = []
  readonly offers: string[] = []
  resumable = 300
  #changed = Promise.withResolvers<void>()

  begin(): HeardTalk {
    const talk = new HeardTalk(() => this.#notify())
    this.begun.push(talk)
    return talk
  }
  resume(id: string, { local, remote }: { local: string; remote: string }): Promise<HeardTalk | undefined> {
    return Promise.resolve(this.begun.find(talk => talk.resumeId === id && talk.receives.has(local, remote)))
  }
  endOf(id: string): number | undefined {
    return id === 'ended' ? 7 : undefined
  }
  offered({ local, remote }: { local: string; remote: string }): void {
    this.offers.push(`${local} ${remote}`)
    this.#notify()
  }

  #notify(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  /** Resolves when some conversation has heard what begins so. */
  async hears(what: string): Promise<HeardTalk> {
    for (;;) {
      const found = this.begun.find(({ heard }) => heard.some(line => line.startsWith(what)))
      if (found !== undefined) return found
      await this.#changed.promise
    }
  }
}

/** What engines of a test share: an authority, and names. */
export interface World {
  readonly ca: TestCa
  readonly dns: DnsServer
  readonly resolver: string
  readonly caFile: string
}

export async function world(t: TestContext): Promise<World> {
  const ca = TestCa.create()
  const dns = await DnsServer.start(t)
  const caFile = path.join(await emptyFolder(t), 'ca.pem')
  await writeFile(caFile, ca.pem)
  return { ca, dns, caFile, resolver: `127.0.0.1:${dns.port}` }
}

export interface EngineOptions {
  /** Domains that it serves. */
  domains: string[]
  /** Its address, of 127.0.0.0/8. */
  ip: string
  /** Default: one of the authority of the world, for all domains. `self`: one that nobody vouches for. */
  certificate?: 'self' | { cert: string; key: string }
  s2s?: Record<string, unknown>
  listen?: Record<string, unknown>
}

export interface Engine {
  readonly federating: Federating
  readonly talks: HeardTalks
  /** Errors for those who sent what was refused. */
  readonly answers: Stanza[]
  readonly log: { level: string; msg: string; reason?: string; domain?: string }[]
}

/** One side, listening on 5269 and 5270 of its address; the names of the world lead there. */
export async function engine(t: TestContext, at: World, options: EngineOptions): Promise<Engine> {
  const { domains, ip, certificate } = options
  const pair = certificate === 'self' ? selfSignedLeaf(domains) : (certificate ?? at.ca.issue(domains))
  const listen = { ip, module: 's2s', ...options.listen }
  const config = {
    ...parseOptions(serverOptions, {
      hosts: [domains[0]],
      s2s: { resolver: at.resolver, ca_file: at.caFile, private_addresses: true, ...options.s2s },
    }),
    listen: [
      parseOptions(listenOptions, { port: 5269, ...listen }),
      parseOptions(listenOptions, { port: 5270, tls: true, ...listen }),
    ],
    perHost: new Map([[domains[0]!, { ...parseOptions(hostOptions, {}), host: domains[0]!, modules: {} }]]),
  } satisfies Config
  const lines: Engine['log'] = []
  const destination = new Writable({
    write(chunk, _, done) {
      lines.push(JSON.parse(String(chunk)))
      done()
    },
  })
  const log = createLog({ level: 'debug', format: 'json', destination })
  const router = new Router(log)
  const answers: Stanza[] = []
  router.fallback = { name: '', filter: undefined, deliver: stanza => void answers.push(stanza) }
  for (const name of domains) {
    router.add({ name, filter: undefined, deliver() {} })
    at.dns.zone[name] = { A: [ip] }
    at.dns.zone[`_xmpp-server._tcp.${name}`] = { SRV: [{ port: 5269, target: name }] }
  }
  const tls = await TlsContexts.load({ certificates: [pair], log })
  const talks = new HeardTalks()
  const store = openMemoryStore()
  const federating = new Federating(
    {
      log,
      ids: new IdGenerator(),
      router,
      store,
      flusher: new Flusher(),
      rounds: new Rounds(),
      prelogin: new PreLoginBudget(2 ** 27),
      tls,
      config: () => config,
      now: undefined,
    },
    await peerCredentials(config, store, log),
    talks,
  )
  await federating.listen()
  t.after(() => federating.stop())
  return { federating, talks, answers, log: lines }
}
