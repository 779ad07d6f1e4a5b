/**
 * A world of servers that reach each other: each on an address of its own, with names that a DNS server of the test knows and
 * certificates of an authority of the test. hermod as a process, ejabberd and Prosody where they are installed
 * (scripts/peers.ts).
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { findEjabberd, findProsody } from '../../../scripts/peers.ts'
import { type Issued, selfSignedLeaf, TestCa } from '../ca.ts'
import { DnsServer, type Zone } from '../dns.ts'
import { Launched, type ServerProcess } from '../launched.ts'
import { RawClient } from '../rawclient.ts'
import { HermodProcess } from '../serverprocess.ts'
import { available } from '../talk.ts'
import { Cable } from './cable.ts'
import { ejabberd } from './ejabberd.ts'
import { COMPONENT, type PeerSetup, PORTS } from './peer.ts'
import { prosody } from './prosody.ts'

export type Make = 'hermod' | 'ejabberd' | 'prosody'

export interface PeerOptions {
  /** By an authority that all trust, for its names and of today, unless said. */
  certificate?: 'self-signed' | 'expired' | 'other-name'
  /** Whether who has no valid certificate is refused; otherwise dialback will do. */
  strict?: boolean
  /** What DNS says of it: SRV of STARTTLS (unless said), SRV of direct TLS only, or its address alone. */
  found?: 'srv' | 'srv-tls' | 'address'
  /** Of Prosody: whether it speaks XEP-0198 with other servers; it does unless said. */
  managed?: boolean
  /** For measurements: the one core that it may use. It is tuned for many users then. */
  core?: number
  /** Others reach it by a cable that can be cut: `PeerWorld.cables`. */
  cable?: boolean
  /** Of hermod: options set on the command line, and more environment. */
  sets?: string[]
  env?: Record<string, string>
  /** Of hermod: how long a broken session of a client can be resumed. */
  resumeTimeout?: string
}

/** Why there is none here; false where there is one. */
export function missing(make: Make): string | false {
  // A network of its own for each process that tests needs all of 127.0.0.0/8.
  if (process.platform !== 'linux') return 'servers on loopback addresses of their own: on Linux only'
  if (make === 'ejabberd' && findEjabberd() === undefined) return 'ejabberd is not installed (npm run peers)'
  if (make === 'prosody' && findProsody() === undefined) return 'Prosody is not installed (npm run peers)'
  return false
}

export class PeerWorld {
  readonly ca = TestCa.create()
  readonly dns: DnsServer
  /** All that runs has its data below it. */
  readonly folder: string
  /** By the domain that they lead to. */
  readonly cables = new Map<string, Cable>()
  readonly #zone: Zone
  readonly #servers: ServerProcess[] = []
  #addresses = 1

  private constructor(folder: string, dns: DnsServer, zone: Zone) {
    this.folder = folder
    this.dns = dns
    this.#zone = zone
    writeFileSync(this.#authorities, this.ca.pem)
    writeFileSync(this.#hosts, '')
  }

  /** Ends with the test, and so does all that runs in it. Of what it wrote, that in a `folder` which was given stays. */
  static async start(t: { after(fn: () => void | Promise<void>): void }, folder?: string): Promise<PeerWorld> {
    const zone: Zone = {}
    const dns = await DnsServer.start(t, zone, { ip: address(1) })
    dns.negativeTtl = 0
    const world = new PeerWorld(folder ?? mkdtempSync(path.join(tmpdir(), 'hermod-world-')), dns, zone)
    t.after(async () => {
      await world.#end()
      if (folder === undefined) await rm(world.folder, { recursive: true, force: true, maxRetries: 10 })
    })
    return world
  }

  /** Starts one; resolves when it takes clients. */
  async server(make: Make, domain: string, options: PeerOptions = {}): Promise<ServerProcess> {
    const server = await this.lay(make, domain, options)
    await server.start()
    return server
  }

  /** Gives it names, certificate and configuration; does not start it. */
  async lay(make: Make, domain: string, options: PeerOptions = {}): Promise<ServerProcess> {
    const ip = address(++this.#addresses)
    const reached = options.cable ? await this.#cable(domain, ip) : ip
    this.#name(domain, reached, options.found ?? 'srv')
    const folder = path.join(this.folder, domain)
    mkdirSync(folder)
    const file = (name: string, text: string): string => {
      const at = path.join(folder, name)
      writeFileSync(at, text)
      return at
    }
    const { cert, key } = this.#certificate(domain, options)
    const setup: PeerSetup = {
      ...{ domain, ip, folder, cert: file('cert.pem', cert), key: file('key.pem', key) },
      authorities: this.#authorities,
      resolver: { ip: address(1), port: this.dns.port },
      hosts: this.#hosts,
      strict: options.strict ?? false,
      managed: options.managed ?? true,
      measured: options.core !== undefined,
    }
    const server = make === 'hermod' ? hermod(setup, options) : await other(make, setup, options)
    this.#servers.push(server)
    return server
  }

  #name(domain: string, ip: string, found: NonNullable<PeerOptions['found']>): void {
    for (const name of namesOf(domain)) {
      this.#zone[name] = { A: [ip], ttl: 1 }
      if (name.startsWith('host.') || found === 'address') continue
      const [service, port] =
        found === 'srv' ? (['_xmpp-server', PORTS.servers] as const) : (['_xmpps-server', PORTS.serversTls] as const)
      this.#zone[`${service}._tcp.${name}`] = { SRV: [{ port, target: `host.${domain}` }], ttl: 1 }
    }
    const hosts = Object.entries(this.#zone).flatMap(([name, { A = [] }]) => A.map(a => `${a} ${name}\n`))
    writeFileSync(this.#hosts, hosts.join(''))
  }

  async #cable(domain: string, to: string): Promise<string> {
    const from = address(++this.#addresses)
    this.cables.set(domain, await Cable.lay(from, to, [PORTS.servers, PORTS.serversTls]))
    return from
  }

  #certificate(domain: string, { certificate }: PeerOptions): Issued {
    const names = [domain, `*.${domain}`]
    if (certificate === 'self-signed') return selfSignedLeaf(names)
    if (certificate === 'expired') return this.ca.expired(...names)
    return this.ca.issue(certificate === 'other-name' ? ['another.example'] : names)
  }

  get #authorities(): string {
    return path.join(this.folder, 'ca.pem')
  }

  get #hosts(): string {
    return path.join(this.folder, 'hosts')
  }

  async #end(): Promise<void> {
    for (const cable of this.cables.values()) cable.close()
    for (const server of this.#servers) {
      server.signal('SIGCONT')
      await server.kill()
    }
  }
}

/** Registers an account there and logs in with it. */
export async function person(server: ServerProcess, user: string, resource = 'home'): Promise<RawClient> {
  await RawClient.register(where(server), user, 'secret')
  return login(server, user, resource)
}

/** Logs in: available, with stream management, and told of changes of the roster (RFC 6121 2.1.6). */
export async function login(server: ServerProcess, user: string, resource = 'home'): Promise<RawClient> {
  const options = { ...where(server), user, password: 'secret', resource, presence: false }
  const client = await RawClient.session(options)
  await client.request('get', "<query xmlns='jabber:iq:roster'/>")
  await available(client)
  return client
}

function where({ ip, port, domain }: ServerProcess): { host: string; port: number; domain: string } {
  return { host: ip, port, domain }
}

/** The n-th address of this process; two that run at once have not one in common. */
function address(n: number): string {
  return `127.${64 + ((process.pid >> 8) & 127)}.${process.pid & 255}.${n}`
}

/** The domain, its host, and the domains of services below it. */
function namesOf(domain: string): string[] {
  return [domain, `host.${domain}`, `upload.${domain}`, `rooms.${domain}`]
}

function hermod(setup: PeerSetup, { strict = false, sets = [], env, resumeTimeout, core }: PeerOptions): ServerProcess {
  const { folder, domain, ip, resolver } = setup
  const options = {
    ...{ folder, domain, ip, resumeTimeout, core },
    sets: [
      ...(setup.measured ? ['loglevel=warn'] : []),
      ...(strict ? ['s2s.policy=require_valid_certificate'] : []),
      ...sets,
    ],
    env: {
      HERMOD_S2S_PORT: String(PORTS.servers),
      HERMOD_S2S_TLS_PORT: String(PORTS.serversTls),
      HERMOD_CERT: setup.cert,
      HERMOD_KEY: setup.key,
      HERMOD_CA: setup.authorities,
      HERMOD_RESOLVER: `${resolver.ip}:${resolver.port}`,
      HERMOD_S2S_RETRY: '1s',
      HERMOD_COMPONENT_PORT: String(PORTS.components),
      HERMOD_COMPONENT: `${COMPONENT.name}.${domain}`,
      HERMOD_COMPONENT_SECRET: COMPONENT.secret,
      // As `npm start` and bench/serve start it.
      ...(setup.measured && { NODE_OPTIONS: '--max-semi-space-size=16' }),
      ...env,
    },
  }
  return new HermodProcess(options, PORTS.clients, 5223, PORTS.http)
}

async function other(make: 'ejabberd' | 'prosody', setup: PeerSetup, { core }: PeerOptions): Promise<ServerProcess> {
  const program = make === 'ejabberd' ? findEjabberd() : findProsody()
  if (program === undefined) throw new Error(`${make} is not installed`)
  const { domain, ip, folder } = setup
  const launch = await (make === 'ejabberd' ? ejabberd : prosody)(setup, program)
  const [log, output] = [path.join(folder, 'log'), path.join(folder, 'output')]
  return new Launched({
    name: make,
    domain,
    ip,
    port: PORTS.clients,
    tlsPort: 0,
    log,
    output,
    cwd: folder,
    core,
    ...launch,
  })
}
