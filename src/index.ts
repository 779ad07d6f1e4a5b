/**
 * The public API: for embedding a server, and for writing modules. A module declares hooks and services of its own by
 * `declare module 'hermod' { interface HookMap { ... } interface ServiceMap { ... } }`; those of hermod's modules are among
 * the types here.
 */

export type { Archive } from './archive/archive.ts'
export type { Config } from './config/core.ts'
export { loadConfig } from './config/load.ts'
export { type OptionShape, type Options, opt, type XepReference } from './config/schema.ts'
export type { Account } from './core/account.ts'
export { type AdHocAnswer, type AdHocCommand, type AdHocSource, type FormAnswers, formStage } from './core/adhoc.ts'
export { Changes } from './core/changes.ts'
export {
  type AccountName,
  arg,
  type Columns,
  type Command,
  CommandError,
  type CommandResult,
  defineCommand,
  type TableRow,
} from './core/commands/command.ts'
export type { Domain, DomainHandler } from './core/domains.ts'
// Wholly, so that `declare module 'hermod'` reaches their maps.
export * from './core/hooks.ts'
export type { Host } from './core/host.ts'
export { type FileResponse, HttpError, type HttpHandler, type HttpRequest, type HttpResponse } from './core/http.ts'
export { type AccountRequest, type IqHandler, type IqRequest, type IqScope, Later, type OwnRequest } from './core/iq.ts'
export { createLog, type Logger } from './core/log.ts'
export { defineModule, type ModuleContext, type ModuleDefinition } from './core/module.ts'
export type { Entry } from './core/queue/entry.ts'
export type { Destination, Source } from './core/router.ts'
export * from './core/services.ts'
export { type Session, Slot } from './core/session.ts'
// All hooks and services, wherever they are declared.
export type {} from './declared.ts'
export type { AvatarService } from './modules/avatar/avatars.ts'
export type { BlockingService } from './modules/mod_blocking.ts'
export type { DiscoService } from './modules/mod_disco.ts'
export type { LastService } from './modules/mod_last.ts'
export type { ProfileService } from './modules/mod_profile.ts'
export type { VCardService } from './modules/mod_vcard.ts'
export type { PepService } from './modules/pubsub/pep.ts'
export type { RosterService } from './modules/roster/mod_roster.ts'
export { builtinModules, loadModule } from './modules.ts'
export { Server, type ServerOptions } from './server.ts'
export type { BlobStore } from './storage/blob.ts'
export {
  type Key,
  type Op,
  pages,
  partitionsOf,
  type Range,
  type Row,
  type Store,
  StoreError,
  type Table,
  type TableSpec,
} from './storage/store.ts'
export {
  childElements,
  childText,
  type Element,
  elementNs,
  findChild,
  findChildren,
  firstChild,
  NS,
  parseElement,
  serialize,
  textOf,
  xml,
} from './xml/index.ts'
export { StanzaError, StreamError } from './xmpp/errors.ts'
export { dataForm, type FormField, formValues } from './xmpp/forms.ts'
export { Jid } from './xmpp/jid.ts'
export { Stanza } from './xmpp/stanza.ts'
