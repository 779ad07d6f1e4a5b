import type { MessageAbout } from './queue/entry.ts'

/** A message of an account for somebody elsewhere: of another server, or of a component. */
interface PeerMessage {
  /** Its sender here, and what that one calls it. */
  readonly about: MessageAbout
  readonly local: string
  readonly remote: string
  /** In the queue of that server or component; orders by time. */
  readonly id: string
}

declare module './hooks.ts' {
  interface HookMap {
    /**
     * Between a domain of the host and one elsewhere nothing has gone for so long that what users have been shown of each
     * other is no longer true. Once, until `peer_back`.
     */
    peer_gone: Told<{ local: string; remote: string }>
    /** There is a stream between them again: after `peer_gone`, or after stanzas were lost for want of one. */
    peer_back: Told<{ local: string; remote: string }>
    /** A message was queued for another server, or for a component. */
    peer_message_queued: Told<PeerMessage>
    /** That has acknowledged it: it is theirs to deliver now. */
    peer_message_accepted: Told<PeerMessage>
    /** It did not get there, and never will: its sender gets an error. */
    peer_message_bounced: Told<PeerMessage>
  }
}
