/** @xmpp/jid ships no types; jid.ts gives its class the ones of this package. */
declare module '@xmpp/jid' {
  export const JID: unknown
  export function parse(text: string): { local: string; domain: string; resource: string }
}
