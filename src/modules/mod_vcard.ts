import { opt } from '../config/schema.ts'
import { defineModule } from '../core/module.ts'
import { NS, parseElement, serialize } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'

export const mod_vcard = defineModule({
  name: 'mod_vcard',
  xep: { number: 54, version: '1.3.0' },
  summary: 'Keeps the vCards of users: name, picture and what else they tell of themselves.',
  options: {
    max_size: opt.size('192 KiB', 'Largest vCard, picture included.', { min: 1024 }),
    privacy: opt.oneOf(
      ['everyone', 'contacts'],
      'everyone',
      'Who may read a vCard; `contacts` are those who may see the user’s presence.',
    ),
  },
  start(ctx) {
    const { max_size: maxSize, privacy } = ctx.options
    const table = ctx.table<string>({ name: 'vcard', version: 1 })
    ctx.feature(NS.VCARD, 'server', 'account')

    ctx.iq('account', 'set', NS.VCARD, 'vCard', async ({ own, account, payload }) => {
      if (!own) throw new StanzaError('forbidden')
      const text = serialize(payload)
      if (Buffer.byteLength(text) > maxSize) {
        throw new StanzaError('policy-violation', `a vCard may have ${maxSize} bytes, this one is larger`)
      }
      await table.put([account!.user], [], text)
    })

    ctx.iq('account', 'get', NS.VCARD, 'vCard', async ({ own, account, from }) => {
      const mayRead =
        own ||
        (account !== undefined &&
          (privacy === 'everyone' || ctx.use('roster')?.isSubscribedFrom(account, from.bare) === true))
      const text = mayRead ? await table.get([account!.user], []) : undefined
      // XEP-0054 3.3: no vCard and no account give the same answer.
      if (text === undefined) throw new StanzaError(own ? 'item-not-found' : 'service-unavailable')
      return parseElement(text)
    })

    ctx.hook('remove_user', ({ user }) => table.del([user.local], []))
  },
})
