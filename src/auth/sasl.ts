import type { Credentials } from './credentials.ts'
import type { ScramHash } from './derive.ts'
import type { SaslContext, SaslExchange } from './exchange.ts'
import { PlainExchange } from './plain.ts'
import { ScramExchange } from './scram.ts'

/** Mechanisms as they are configured; the -PLUS ones come with theirs. */
export type Mechanism = 'SCRAM-SHA-512' | 'SCRAM-SHA-256' | 'SCRAM-SHA-1' | 'PLAIN'

export interface SaslOptions {
  credentials: Credentials
  /** The host, prepared. */
  domain: string
  /** Preferred first. */
  mechanisms?: readonly Mechanism[]
  /** Let clients notice a shortened offer (XEP-0474); default true. */
  seal?: boolean
}

/** The mechanisms of one host; independent of how their messages travel (SASL of RFC 6120, SASL2 of XEP-0388). */
export interface Sasl {
  /** Names to offer, preferred first. */
  offered(context: SaslContext): string[]
  /**
   * Undefined for a mechanism that is not offered here (`invalid-mechanism`). Give it the context of the
   * offer: clients may check that they saw all of these names and bindings, and no others (XEP-0474).
   */
  start(mechanism: string, context: SaslContext): SaslExchange | undefined
}

const ALL: readonly Mechanism[] = ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN']

export function createSasl({ credentials, domain, mechanisms = ALL, seal = true }: SaslOptions): Sasl {
  const scram = mechanisms.filter(name => name !== 'PLAIN')

  function offered(context: SaslContext): string[] {
    const plus = context.bindings.types.length > 0 ? scram.map(name => `${name}-PLUS`) : []
    const plain = context.secure || context.allowPlainInsecure === true
    return [...plus, ...mechanisms.filter(name => name !== 'PLAIN' || plain)]
  }

  function start(mechanism: string, context: SaslContext): SaslExchange | undefined {
    const names = offered(context)
    if (!names.includes(mechanism)) return undefined
    if (mechanism === 'PLAIN') return new PlainExchange(credentials, domain)
    const plus = mechanism.endsWith('-PLUS')
    const hash = mechanism.slice('SCRAM-'.length, plus ? -'-PLUS'.length : undefined) as ScramHash
    return new ScramExchange({ hash, plus, offered: names, seal, context, credentials, domain })
  }

  return { offered, start }
}
