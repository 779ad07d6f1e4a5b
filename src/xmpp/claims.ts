import { type Element, NS } from '../xml/index.ts'
import { Jid } from './jid.ts'

/**
 * Who is said to have given a stanza its id (XEP-0359 4 rule 2) or to have delayed it (XEP-0203, and XEP-0091, which it
 * replaced); undefined for any other element. Written in another way it is still the same address (RFC 7622), for clients that
 * overlook spaces too.
 */
export function claimant({ name, attrs }: Element): Jid | undefined {
  const { xmlns } = attrs
  const isId = name === 'stanza-id' && xmlns === NS.SID
  const isDelay = (name === 'delay' && xmlns === NS.DELAY) || (name === 'x' && xmlns === NS.DELAY_LEGACY)
  const by = isId ? attrs['by'] : isDelay ? attrs['from'] : undefined
  return by === undefined ? undefined : Jid.parse(by.trim())
}
