import type { OptionShape, Options, XepReference } from '../config/schema.ts'
import type { BlobStore } from '../storage/blob.ts'
import type { Op, Table, TableSpec } from '../storage/store.ts'
import type { Element } from '../xml/index.ts'
import type { FormField } from '../xmpp/forms.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Account } from './account.ts'
import type { AdHocCommand, AdHocSource } from './adhoc.ts'
import type { ArgShape, Command, Returns } from './commands/command.ts'
import type { Commands } from './commands/commands.ts'
import type { Domain, DomainHandler } from './domains.ts'
import type { Handler, HookName, HookOptions } from './hooks.ts'
import type { Host } from './host.ts'
import type { HttpHandler, HttpMethod, HttpOrigin } from './http.ts'
import type { Delegation, IqHandler, IqOptions, IqScope, IqTarget } from './iq.ts'
import type { Logger } from './log.ts'
import type { ServiceMap, ServiceName } from './services.ts'
import type { Session, Slot } from './session.ts'

export interface ModuleDefinition<S extends OptionShape = OptionShape> {
  /** `mod_` and ejabberd's word for it. */
  readonly name: string
  readonly xep?: XepReference | readonly XepReference[]
  /** One sentence for the docs. */
  readonly summary: string
  readonly options: S
  /** Runs only where the configuration names it. Others run on every host unless it says otherwise. */
  readonly optional?: boolean
  start(ctx: ModuleContext<S>): void | Promise<void>
}

/** A module: one file, one declaration. */
export function defineModule<S extends OptionShape>(definition: ModuleDefinition<S>): ModuleDefinition<S> {
  return definition
}

/**
 * What a module gets of the server: everything it registers here is undone when it stops, in reverse. One context for each
 * host that the module runs on. Most need few of these words: `iq` for what clients ask, `hook` for what passes by,
 * `userTable` for what is kept of users, `feature` to say so.
 */
export interface ModuleContext<S extends OptionShape = OptionShape> {
  readonly host: Host
  readonly options: Options<S>
  /** Those with which this module runs on another host; undefined where it does not. */
  optionsAt(host: string): Options<S> | undefined
  /** Marked with the module's name. */
  readonly log: Logger
  /** Ms since the server started, by the clock of {@link now}. */
  uptime(): number
  /** Ms since 1970. */
  now(): number

  // What it keeps

  /** Pictures and files of the whole server, by key: keys start with the module's business and the host. */
  readonly blobs: BlobStore
  /** A table of this host (see storage/store.ts). Throws where another module, or the server, has one of that name. */
  table<V>(spec: TableSpec<V>): Table<V>
  /** As {@link table}, of what belongs to a user: its partitions are `[localpart]`, and each goes with the account. */
  userTable<V>(spec: TableSpec<V>): Table<V>
  /** Rows of several tables or partitions, all or none: see Store.commit there. */
  commit(ops: readonly Op[]): Promise<void>
  /**
   * What a module keeps with each account in memory: read when the account is loaded, and by the time this resolves for all
   * that are there already; what is in the slot by then stays. `keep` puts it there (by default, just so). What comes back
   * reads it again, where it could not be read then.
   */
  perAccount<T>(
    slot: Slot<T>,
    load: (account: Account) => Promise<T | undefined>,
    keep?: (account: Account, value: T) => void,
  ): Promise<(account: Account) => Promise<void>>
  /** What is in this slot of a session is there again after an orderly restart; its name is what it is kept under. */
  survives(slot: Slot<unknown>): void

  // What it hears, and answers

  /** Listens to what passes by: hooks.ts has their order and what an answer means, docs/reference/hooks.md all that there are. */
  hook<N extends HookName>(name: N, handler: Handler<N>): void
  hook<N extends HookName>(name: N, options: HookOptions, handler: Handler<N>): void
  /**
   * Answers iqs with this payload: returns (or promises) the result's payload, or throws StanzaError. What acts on the
   * account of who asks is of scope `own` (see iq.ts).
   */
  iq<S extends IqScope>(
    scope: S,
    type: 'get' | 'set',
    ns: string,
    name: string,
    handler: IqHandler<S>,
    options?: IqOptions,
  ): void
  /** Has the iqs of a namespace, to the host and its accounts, answered elsewhere (XEP-0355). */
  delegate(ns: string, delegation: Delegation): void
  /** An element on the stream that is no stanza (CSI's `<active/>`), from a bound session. */
  nonza(ns: string, name: string, handler: (session: Session, el: Element) => void): void
  /**
   * Serves a domain below the host (`pubsub.example.org`; `@HOST@` in its name is the host's): what comes there goes to
   * `handler`, iqs to those registered on what is returned. It is listed among the host's items.
   */
  domain(name: string, handler: DomainHandler): Domain
  /** Serves what is at this path, and below it, by HTTP; `@HOST@` in it is the host's name. HEAD comes with GET. */
  http(method: HttpMethod, path: string, handler: HttpHandler): void
  /** Where the server listens for HTTP; undefined where it does not. Its port is known when the server has started. */
  httpOrigin(): HttpOrigin | undefined

  // What is said of it to clients

  /** Named in the answers to disco#info: of the host, and with `account` of its accounts too. */
  feature(ns: string, ...scopes: IqTarget[]): void
  identity(identity: Identity, scope?: IqTarget): void
  /** Says more of the host in the answers to disco#info (XEP-0128): fields, and the FORM_TYPE that says what they mean. */
  form(formType: string, fields: readonly FormField[]): void
  /** Offered to authenticated streams before they are bound. */
  streamFeature(make: () => Element): void

  // What administrators do with it

  /** Declared once: typed at `hermodctl`, and an ad-hoc command for administrators. */
  command<A extends ArgShape, R extends Returns = 'text?'>(command: Command<A, R>): void
  /** All commands of the server, declared by whomever. */
  readonly commands: Commands
  /** An ad-hoc command (XEP-0050) of this host, or a source of such. */
  adhoc(command: AdHocCommand | AdHocSource): void
  /** Whether an access rule allows it to who has this address; the rule as it stands for `host`, by default this one. */
  allowed(rule: string, jid: Jid, host?: string): boolean
  /** The accounts that an acl of the configuration names one by one. */
  named(acl: string): readonly string[]
  /** One for all hosts that the module runs on; `hermod_` comes before its name. Throws where it is somebody else's. */
  counter(name: string, help: string): { value: number }

  // What it does, and offers other modules

  provide<N extends ServiceName>(name: N, service: ServiceMap[N]): void
  /** Undefined while no module provides it: ask when you need it, not at start. */
  use<N extends ServiceName>(name: N): ServiceMap[N] | undefined
  /** Routes a stanza of the host or one of its accounts. */
  route(stanza: Stanza): void
  /** Asks an entity something; undefined if no answer came within `timeout` ms. */
  request(to: Jid, type: 'get' | 'set', payload: Element, timeout: number): Promise<Stanza | undefined>
  /** A local account, loaded; undefined if there is none. */
  account(user: string): Account | undefined | Promise<Account | undefined>
  /** Nobody waits for this work: that it failed is logged, with what that means. What comes back never rejects. */
  aside(work: Promise<unknown>, failed: string, about?: object): Promise<void>
  /** Runs `fn` every `ms` (1 or more) until the module stops. */
  every(ms: number, fn: () => void | Promise<void>): void
  /** For what a module holds outside the server. */
  onStop(fn: () => void | Promise<void>): void
}

export interface Identity {
  category: string
  type: string
  name?: string
}
