/** Servers in this process that find each other by a DNS server of the test, and trust an authority of the test. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type Issued, selfSignedLeaf, TestCa } from './ca.ts'
import { DnsServer } from './dns.ts'
import { emptyFolder } from './folder.ts'
import { type TestOptions, TestServer } from './testserver.ts'

type Test = Parameters<typeof emptyFolder>[0]

export interface Elsewhere extends TestOptions {
  /** Default: of the authority, for its hosts and all below them. `self`: one that nobody vouches for. */
  certificate?: 'self' | Issued
}

/** Where servers are: names and authorities. */
export class Net {
  readonly ca = TestCa.create()
  readonly dns: DnsServer
  readonly #folder: string
  readonly #t: Test

  private constructor(t: Test, dns: DnsServer, folder: string) {
    this.#t = t
    this.dns = dns
    this.#folder = folder
  }

  static async start(t: Test): Promise<Net> {
    const net = new Net(t, await DnsServer.start(t), await emptyFolder(t))
    await writeFile(net.#caFile, net.ca.pem)
    return net
  }

  get #caFile(): string {
    return path.join(this.#folder, 'ca.pem')
  }

  /** Domains that are found at an address. */
  name(ip: string, ...domains: string[]): void {
    for (const domain of domains) {
      this.dns.zone[domain] = { A: [ip] }
      this.dns.zone[`_xmpp-server._tcp.${domain}`] = { SRV: [{ port: 5269, target: domain }] }
    }
  }

  /** Options of a server of these domains, at an address of 127.0.0.0/8. */
  async options(ip: string, hosts: string[], given: Elsewhere = {}): Promise<TestOptions> {
    const { certificate, ...options } = given
    const names = hosts.flatMap(host => [host, `*.${host}`])
    const pair = certificate === 'self' ? selfSignedLeaf(names) : (certificate ?? this.ca.issue(names))
    const cert = path.join(this.#folder, `${hosts[0]}.pem`)
    await writeFile(cert, pair.cert + pair.key)
    const { s2s, ...config } = options.config ?? {}
    return {
      ...options,
      hosts,
      s2s: { ip, ...options.s2s },
      config: {
        ...config,
        certfiles: [{ cert, key: undefined }],
        s2s: {
          resolver: `127.0.0.1:${this.dns.port}`,
          ca_file: this.#caFile,
          private_addresses: true,
          ...(s2s as object | undefined),
        },
      },
    }
  }

  /** Runs until the test is over. */
  async server(ip: string, hosts: string[], given: Elsewhere = {}): Promise<TestServer> {
    this.name(ip, ...hosts)
    const server = await TestServer.start(await this.options(ip, hosts, given))
    this.#t.after(() => server.stop())
    return server
  }
}
