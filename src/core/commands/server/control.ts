import type { StreamError } from '../../../xmpp/errors.ts'
import type { Host } from '../../host.ts'
import type { Logger } from '../../log.ts'
import type { Metrics } from '../../metrics.ts'
import type { DestinationQueue } from '../../queue/destinationqueue.ts'
import type { Router } from '../../router.ts'
import type { FederationControl } from './federation.ts'

/** Where connections are taken. */
export interface OpenPort {
  /** What is spoken there, by the word that `listen` has for it. */
  readonly module: string
  readonly port: number
  readonly ip: string
  readonly tls: string
}

/** What commands may do with the server they run in. */
export interface ServerControl {
  readonly version: string
  readonly uptime: number
  readonly hosts: readonly Host[]
  readonly log: Logger
  readonly metrics: Metrics
  readonly router: Router
  readonly sessionCount: number
  /** Undefined where there are no other servers. */
  readonly federation: FederationControl | undefined
  readonly components: Iterable<ComponentControl> & { get(domain: string): ComponentControl | undefined }
  readonly state: 'starting' | 'running' | 'draining' | 'stopping'
  modules(): { host: string; module: string; xep: string }[]
  ports(): OpenPort[]
  certificates(): { names: readonly string[]; file: string | undefined; notAfter: Date }[]
  /** Reads the configuration again; names what only a restart changes. */
  reloadConfig(): Promise<string[]>
  /** Rejects with what is wrong with the configuration as it is in the file now: a start with it would fail. */
  checkConfig(): Promise<void>
  drain(): void
  /** Stops in order, once the answer to whoever asked is out; with `restart` it starts again. */
  leaveSoon(how: 'stop' | 'restart'): void
  /** Writes the rows, and unless `rowsOnly` the pictures and files. Rejects with a StoreError in words. */
  backup(file: string, rowsOnly: boolean, progress: (text: string) => void): Promise<BackupReport>
  /** Takes what a backup holds in place of all there is, by a restart. Rejects with a StoreError in words. */
  restore(file: string, progress: (text: string) => void): Promise<RestoreReport>
}

/** A component (XEP-0114), connected or not. */
export interface ComponentControl {
  readonly name: string
  readonly connections: readonly {
    readonly stream: { readonly transport: { readonly peer: { readonly ip: string } } }
    /** Ms since 1970. */
    readonly since: number
  }[]
  readonly backlog: { readonly queue: Pick<DestinationQueue, 'messages' | 'peek' | 'drop'> }
  /** Ends its connections. */
  end(error: StreamError): void
}

export interface BackupReport {
  /** Of the file. */
  bytes: number
  pictures: number
  /** What is no picture: files of users, and smaller sizes of pictures. */
  files: number
  /** Files that are damaged, and were left out. */
  missing: number
}

export interface RestoreReport extends BackupReport {
  rows: number
  accounts: number
  /** Messages that wait for their recipients, and those in archives; one may be among both. */
  waiting: number
  archived: number
  /** The folder of the store that is replaced. */
  kept: string
}

export function names(server: ServerControl): string {
  return server.hosts.map(h => h.name).join(', ')
}
