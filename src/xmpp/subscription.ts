/** RFC 6121 Appendix A: what two accounts may see of each other, as one of them has it in its roster. */
export interface Subscription {
  /** I see the contact's presence. */
  to: boolean
  /** The contact sees mine. */
  from: boolean
  /** I asked to see it and have no answer ("pending out"). */
  out: boolean
  /** The contact asked and has no answer ("pending in"). */
  in: boolean
  /** I have said yes before being asked (RFC 6121 3.4). */
  approved: boolean
}

export type SubscriptionType = 'subscribe' | 'subscribed' | 'unsubscribe' | 'unsubscribed'

export interface Outcome {
  next: Subscription
  /** Outbound: route it to the contact. Inbound: deliver it to the user's sessions. */
  pass: boolean
  /** Inbound: answer for the user. */
  reply?: 'subscribed'
}

export const NONE: Subscription = Object.freeze({ to: false, from: false, out: false, in: false, approved: false })

export function isSubscriptionType(type: string): type is SubscriptionType {
  return type === 'subscribe' || type === 'subscribed' || type === 'unsubscribe' || type === 'unsubscribed'
}

/** The user sends it (A.2). */
export function outbound(type: SubscriptionType, s: Subscription): Outcome {
  switch (type) {
    case 'subscribe':
      return { next: { ...s, out: s.out || !s.to }, pass: true }
    case 'unsubscribe':
      return { next: { ...s, to: false, out: false }, pass: true }
    case 'subscribed':
      if (s.in) return { next: { ...s, from: true, in: false }, pass: true }
      return { next: { ...s, approved: s.approved || !s.from }, pass: false }
    case 'unsubscribed':
      return { next: { ...s, from: false, in: false, approved: false }, pass: s.from || s.in }
  }
}

/** It comes from the contact (A.3). */
export function inbound(type: SubscriptionType, s: Subscription): Outcome {
  switch (type) {
    case 'subscribe':
      if (s.from) return { next: s, pass: false, reply: 'subscribed' }
      if (s.approved)
        return { next: { ...s, from: true, in: false, approved: false }, pass: false, reply: 'subscribed' }
      return { next: { ...s, in: true }, pass: !s.in }
    case 'unsubscribe':
      return { next: { ...s, from: false, in: false }, pass: s.from || s.in }
    case 'subscribed':
      return s.out ? { next: { ...s, to: true, out: false }, pass: true } : { next: s, pass: false }
    case 'unsubscribed':
      return { next: { ...s, to: false, out: false }, pass: s.to || s.out }
  }
}

/** The `subscription` attribute of a roster item (RFC 6121 2.1.2.5). */
export function attribute(s: Subscription): 'none' | 'to' | 'from' | 'both' {
  if (s.to) return s.from ? 'both' : 'to'
  return s.from ? 'from' : 'none'
}

/** A contact that only asked, and that the user has not added, is in no roster yet (A.1). */
export function isVisible(s: Subscription): boolean {
  return s.to || s.from || s.out || s.approved || !s.in
}
