import { Credentials, type CredentialsOptions } from '../../../src/auth/credentials.ts'
import type { SaslContext } from '../../../src/auth/exchange.ts'
import { type CredentialRecord, PASSWD } from '../../../src/auth/record.ts'
import { type BindingType, type ChannelBindings, NO_BINDINGS } from '../../../src/net/channelbinding.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import type { Table } from '../../../src/storage/store.ts'

export const DOMAIN = 'example.org'

export function accounts(options: Partial<CredentialsOptions> = {}): {
  credentials: Credentials
  table: Table<CredentialRecord>
} {
  const table = options.table ?? openMemoryStore().table(DOMAIN, PASSWD)
  const secret = Buffer.alloc(32, 7)
  return { credentials: new Credentials({ secret, iterations: 4096, ...options, table }), table }
}

export const EXPORTER = Buffer.alloc(32, 1)
export const END_POINT = Buffer.alloc(32, 2)
export function bindingsOf(data: Partial<Record<BindingType, Buffer>>): ChannelBindings {
  return { types: Object.keys(data) as BindingType[], data: type => data[type as BindingType] }
}

export const CLEAR: SaslContext = { secure: false, bindings: NO_BINDINGS }
/** TLS in front of the server: encrypted, but nothing to bind to. */
export const PROXIED: SaslContext = { secure: true, bindings: NO_BINDINGS }
export const TLS: SaslContext = {
  secure: true,
  bindings: bindingsOf({ 'tls-exporter': EXPORTER, 'tls-server-end-point': END_POINT }),
}
