import type { Stanza } from '../xmpp/stanza.ts'
import type { Account } from './account.ts'
import type { HookEvent } from './hooks.ts'
import type { Source } from './router.ts'
import type { Session } from './session.ts'

declare module './hooks.ts' {
  interface HookMap {
    /**
     * A message of an account is about to be routed, for the first time: not one sent again after a broken connection.
     * `session` is the client that sent it; undefined where a service did, in the name of the account (XEP-0356).
     */
    message_sent: Sync<{
      account: Account
      session: Session | undefined
      stanza: Stanza
      /** Its id in the archive of its sender, where it is put there before it is routed. */
      archived: string | undefined
      /** Called when it has been routed, or refused. */
      routed: (() => void) | undefined
    }>
  }
}

/** Routes a message that an account sends; who keeps what it sends, or shows it to its other clients, is told. As Router.route. */
export function routeSent(account: Account, stanza: Stanza, source: Source): void | Promise<void> {
  const { hooks, router } = account.host
  if (!hooks.has('message_sent')) return router.route(stanza, source)
  const { session } = source
  const event: HookEvent<'message_sent'> = { account, session, stanza, archived: undefined, routed: undefined }
  hooks.runSync('message_sent', event)
  const { routed } = event
  if (routed === undefined) return router.route(stanza, source)
  try {
    const done = router.route(stanza, source)
    if (done instanceof Promise) return done.finally(routed)
  } catch (error) {
    routed()
    throw error
  }
  routed()
}
