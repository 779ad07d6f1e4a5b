import type { Credentials } from './credentials.ts'
import type { ScramHash } from './derive.ts'
import type { Devices } from './devices.ts'
import type { SaslContext, SaslExchange } from './exchange.ts'
import { PlainExchange } from './plain.ts'
import { ScramExchange } from './scram.ts'
import { TokenExchange, type TokenMechanism, type TokenUse, tokenMechanisms } from './token.ts'

/** Mechanisms as they are configured; the -PLUS ones come with theirs. */
export type Mechanism = 'SCRAM-SHA-512' | 'SCRAM-SHA-256' | 'SCRAM-SHA-1' | 'PLAIN'

interface SaslOptions {
  credentials: Credentials
  /** Who checks passwords that come in the clear; default the credentials. */
  passwords?: Pick<Credentials, 'check'>
  /** Where there are some, they may log in by tokens (XEP-0484). */
  devices?: Devices
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
  /** Mechanisms for tokens, to be offered apart (XEP-0484 3.1). */
  tokens(context: SaslContext): TokenMechanism[]
  /** As {@link start}, for a token of a device. */
  startToken(mechanism: string, context: SaslContext, token: TokenUse): SaslExchange | undefined
  /** Hashes of passwords to which clients may bring accounts that lack them (XEP-0480), strongest first. */
  readonly upgrades: readonly ScramHash[]
}

const ALL: readonly Mechanism[] = ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN']

export function createSasl(options: SaslOptions): Sasl {
  const { credentials, passwords = credentials, devices, domain, mechanisms = ALL, seal = true } = options
  const upgrades = mechanisms.filter(name => name !== 'PLAIN' && name !== 'SCRAM-SHA-1').map(hashOf)

  function offered(context: SaslContext): string[] {
    const { hashes } = context
    const usable =
      hashes === undefined ? mechanisms : mechanisms.filter(n => n === 'PLAIN' || hashes.includes(hashOf(n)))
    const plus = context.bindings.types.length > 0 ? usable.filter(name => name !== 'PLAIN').map(n => `${n}-PLUS`) : []
    const plain = context.secure || context.allowPlainInsecure === true
    return [...plus, ...usable.filter(name => name !== 'PLAIN' || plain)]
  }

  function start(mechanism: string, context: SaslContext): SaslExchange | undefined {
    const names = offered(context)
    if (!names.includes(mechanism)) return undefined
    if (mechanism === 'PLAIN') return new PlainExchange(passwords, credentials, domain, context.wait)
    const plus = mechanism.endsWith('-PLUS')
    const hash = hashOf(plus ? mechanism.slice(0, -'-PLUS'.length) : mechanism)
    return new ScramExchange({ hash, plus, offered: names, seal, context, credentials, domain })
  }

  function tokens(context: SaslContext): TokenMechanism[] {
    return devices === undefined ? [] : tokenMechanisms(context)
  }

  function startToken(name: string, context: SaslContext, token: TokenUse): SaslExchange | undefined {
    const mechanism = tokens(context).find(n => n === name)
    if (mechanism === undefined || devices === undefined) return undefined
    return new TokenExchange({ mechanism, context, devices, credentials, ...token })
  }

  return { offered, start, tokens, startToken, upgrades }
}

function hashOf(mechanism: string): ScramHash {
  return mechanism.slice('SCRAM-'.length) as ScramHash
}
