/** @xmpp/xml ships no types; element.ts gives its Element the ones this project uses. */
declare module '@xmpp/xml' {
  export const Element: unknown
}
