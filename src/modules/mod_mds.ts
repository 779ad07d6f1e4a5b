import { FIRST } from '../core/hooks.ts'
import { defineModule } from '../core/module.ts'
import { childElements, clone, type Element, findChild, NS } from '../xml/index.ts'

/** XEP-0490 3.2: what the node must be like, whoever makes it. */
const PRIVATE = {
  persist_items: true,
  max_items: 'max',
  send_last_published_item: 'never',
  access_model: 'whitelist',
} as const

export const mod_mds = defineModule({
  name: 'mod_mds',
  xep: { number: 490, version: '1.0.1', name: 'Message Displayed Synchronization' },
  summary: 'Notes for a client, with the marker that it sends anyway, up to where its user has read; needs mod_pubsub.',
  options: {},
  start(ctx) {
    ctx.feature(NS.MDS_ASSIST, 'account')
    // Before carbons and archives see it: the id in it is nobody else's business (XEP-0490 4.2).
    ctx.hook('user_send_packet', { order: FIRST }, event => {
      const { session, stanza } = event
      if (stanza.kind !== 'message') return
      const displayed = stanza.el.children.find(isDisplayed)
      if (displayed === undefined) return
      event.stanza = stanza.changed(el => {
        el.children = el.children.filter(child => !isDisplayed(child))
      })
      const pep = ctx.use('pep')
      const payload = pep && payloadOf(displayed as Element)
      if (stanza.type === 'error' || payload === undefined) return
      const { account } = session
      const chat = (stanza.to ?? account.jid).toString()
      // The stream waits: markers take effect in their order, and before they are acknowledged.
      return pep!.publish(account, NS.MDS, chat, payload, PRIVATE).catch((error: unknown) => {
        ctx.log.info({ err: error, user: account.user }, 'what a user has read could not be noted')
      })
    })
  },
})

function isDisplayed(child: Element | string): boolean {
  return typeof child !== 'string' && child.name === 'displayed' && child.attrs['xmlns'] === NS.MDS
}

/** The element as it is to be kept; undefined where it does not say which message was displayed. */
function payloadOf(displayed: Element): Element | undefined {
  const id = findChild(displayed, 'stanza-id', NS.SID)
  return id !== undefined && childElements(displayed).length === 1 ? clone(displayed) : undefined
}
