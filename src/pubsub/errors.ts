import { NS, xml } from '../xml/index.ts'
import { type ErrorType, type StanzaCondition, StanzaError } from '../xmpp/errors.ts'

/** An error with the condition of pubsub's own that explains it (XEP-0060 13, and where each is named). */
export function pubsubError(
  condition: StanzaCondition,
  specific: string,
  options: { type?: ErrorType; text?: string; feature?: string } = {},
): StanzaError {
  const application = xml(specific, { xmlns: NS.PUBSUB_ERRORS, feature: options.feature })
  const { type, text } = options
  return new StanzaError(condition, text, type === undefined ? { application } : { application, type })
}

/** XEP-0060: the service, or this node, does not do that. */
export function unsupported(feature: string): StanzaError {
  return pubsubError('feature-not-implemented', 'unsupported', { feature })
}

export function noSuchNode(): StanzaError {
  return new StanzaError('item-not-found', 'there is no such node')
}

/** What a stranger is told at an account, whatever is there, so that nobody learns who has an account (XEP-0060 6.1.3.2). */
export function presenceRequired(): StanzaError {
  return pubsubError('not-authorized', 'presence-subscription-required')
}

/** XEP-0060 has no error for a full store; RFC 6120 8.3.3.18 has. Who deletes something may publish again. */
export function noRoom(): StanzaError {
  return new StanzaError('resource-constraint', 'there is no more room for items', { type: 'wait' })
}
