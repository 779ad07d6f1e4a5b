import type { Account } from '../core/account.ts'
import { defineModule } from '../core/module.ts'
import { childElements, type Element, elementNs, NS } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { readVCard, readVCard4, sameCard, writeVCard, writeVCard4 } from '../xmpp/vcard.ts'

/** XEP-0292 4.1: a node with one item, for everybody. The item's id means nothing. */
const ITEM = 'current'
/** Somebody who is nobody's contact. */
const STRANGER = Jid.of('', 'stranger.invalid')

export const mod_vcard4 = defineModule({
  name: 'mod_vcard4',
  xep: { number: 292, version: '0.12.0', name: 'vCard4 Over XMPP' },
  summary:
    'Keeps vCard4 and vCard in step: what a user says in one, the other says too; needs mod_pubsub and mod_vcard.',
  options: {},
  start(ctx) {
    ctx.feature(NS.VCARD4, 'server', 'account')

    /** The vCard4 as it is kept; undefined where there is none. */
    const stored = async (account: Account): Promise<Element | undefined> =>
      (await ctx.use('pep')?.items(account, NS.VCARD4_NODE))?.[0]?.payload

    const isOpen = async (account: Account): Promise<boolean> =>
      (await ctx.use('pep')?.mayRead(account, NS.VCARD4_NODE, STRANGER)) === true

    const publish = async (account: Account, vcard: Element): Promise<void> => {
      const access_model = ctx.use('vcard')?.isPublic === false ? 'presence' : 'open'
      await ctx.use('pep')?.publish(account, NS.VCARD4_NODE, ITEM, vcard, { access_model, max_items: 1 })
    }

    // The vCard4 says the same, and keeps what a vCard cannot say.
    ctx.hook('vcard_stored', async ({ account, vcard }) => {
      if (ctx.use('pep') === undefined) return
      const now = await stored(account)
      // What contacts alone may read does not come to a node that everybody reads.
      if (now !== undefined && ctx.use('vcard')?.isPublic === false && (await isOpen(account))) return
      const card = readVCard(vcard)
      if (now === undefined ? childElements(vcard).length === 0 : sameCard(readVCard4(now), card)) return
      await publish(account, writeVCard4(card, now))
    })

    // And the other way.
    const follow = async (account: Account, vcard4: Element): Promise<void> => {
      // Nor does what only some may read come to a vCard for everybody.
      if (ctx.use('vcard')?.isPublic === true && !(await isOpen(account))) return
      const card = readVCard4(vcard4)
      await ctx
        .use('vcard')
        ?.change(
          account,
          now => (now !== undefined && sameCard(readVCard(now), card) ? undefined : writeVCard(card, now)),
          false,
        )
    }
    ctx.hook('pep_published', async ({ account, node, payload }) => {
      if (node !== NS.VCARD4_NODE || payload.name !== 'vcard' || elementNs(payload) !== NS.VCARD4) return
      await follow(account, payload).catch((error: unknown) => {
        ctx.log.info({ err: error, user: account.user }, 'a vCard could not follow its vCard4')
      })
    })

    // Clients of earlier versions of the XEP ask for it without PEP.
    ctx.iq('account', 'get', NS.VCARD4, 'vcard', async ({ own, account, from }) => {
      const vcard = account && (await readable(account, from))
      if (vcard === undefined) throw new StanzaError(own ? 'item-not-found' : 'service-unavailable')
      return vcard
    })

    const readable = async (account: Account, asker: Jid): Promise<Element | undefined> => {
      const pep = ctx.use('pep')
      const [item] = (await pep?.items(account, NS.VCARD4_NODE)) ?? []
      if (item === undefined || pep === undefined) return undefined
      if (!(await pep.mayRead(account, NS.VCARD4_NODE, asker))) return undefined
      const items = [{ ...item }]
      await ctx.host.hooks.run('pep_read', { account, node: NS.VCARD4_NODE, items })
      return items[0]!.payload
    }

    ctx.iq('own', 'set', NS.VCARD4, 'vcard', async ({ account, payload, session }) => {
      if (ctx.use('pep') === undefined) throw new StanzaError('feature-not-implemented')
      const event = { account, node: NS.VCARD4_NODE, id: ITEM, payload, session }
      await ctx.host.hooks.run('pep_publish', event)
      await publish(account, event.payload)
    })
  },
})
