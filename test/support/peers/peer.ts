/** What a server of another make has to know; how each is told stands in its own file. */

/** Where it lives, whom it trusts, and how it shows who it is. */
export interface PeerSetup {
  readonly domain: string
  /** The address of all its ports. */
  readonly ip: string
  /** Empty, and its own. */
  readonly folder: string
  /** PEM files: its certificate with the chain, the key, the authorities that it trusts. */
  readonly cert: string
  readonly key: string
  readonly authorities: string
  /** The DNS server to ask. */
  readonly resolver: { readonly ip: string; readonly port: number }
  /** A file like /etc/hosts with the same names, for who asks the C library. */
  readonly hosts: string
  /** Whether who has no valid certificate is refused; otherwise dialback will do. */
  readonly strict: boolean
  /** Whether it speaks XEP-0198 with other servers, if it can. */
  readonly managed: boolean
  /** For measurements: it may use one core, says little, lets idle connections be, and is tuned as it is for many users. */
  readonly measured: boolean
}

/** The ports of every server, on an address of its own: for clients, for servers (STARTTLS; direct TLS), for components, for HTTP. */
export const PORTS = { clients: 5222, servers: 5269, serversTls: 5270, components: 5347, http: 5280 } as const
/** The domain of a component, below that of the server, and its password. */
export const COMPONENT = { name: 'component', secret: 'secret' } as const
