declare module './hooks.ts' {
  interface HookMap {
    /**
     * Between a domain of the host and one elsewhere nothing has gone for so long that what users have been shown of each
     * other is no longer true. Once, until `peer_back`.
     */
    peer_gone: Told<{ local: string; remote: string }>
    /** There is a stream between them again: after `peer_gone`, or after stanzas were lost for want of one. */
    peer_back: Told<{ local: string; remote: string }>
  }
}

export {}
