import { arg, type Command, CommandError, defineCommand } from '../../core/commands/command.ts'
import { attribute, NONE } from '../../xmpp/subscription.ts'
import type { Rosters } from './rosters.ts'

const SUBSCRIPTIONS = ['none', 'to', 'from', 'both'] as const

export function rosterCommands(rosters: Rosters): Command[] {
  return [
    defineCommand({
      name: 'get_roster',
      summary: 'Lists the contacts of an account.',
      args: { account: arg.account('The account') },
      returns: { jid: 'jid', name: 'text', subscription: 'text', ask: 'text', groups: 'list' },
      async run({ account }) {
        const roster = await rosters.load(account)
        return [...roster.listed()].map(({ jid, name, subscription, groups }) => ({
          jid,
          name: name ?? '',
          subscription: attribute(subscription),
          ask: subscription.out ? 'subscribe' : subscription.in ? 'asked' : '',
          groups,
        }))
      },
    }),
    defineCommand({
      name: 'add_rosteritem',
      summary: 'Puts a contact into the roster of an account; the contact’s own roster is not touched.',
      args: {
        account: arg.account('The account'),
        contact: arg.jid('The contact'),
        name: arg.text('How the contact is called', { optional: true }),
        group: arg.text('A group', { optional: true }),
        subscription: arg.text('Who sees whom; default none', { optional: true, values: SUBSCRIPTIONS }),
      },
      example: 'add_rosteritem alice@localhost bob@localhost Bob Friends both',
      async run({ account, contact, name, group, subscription = 'none' }) {
        const state = {
          ...NONE,
          to: subscription === 'to' || subscription === 'both',
          from: subscription === 'from' || subscription === 'both',
        }
        const groups = group === undefined || group === '' ? [] : [group]
        await rosters.set(await rosters.load(account), contact.bare, name, groups, state)
        return 'added'
      },
    }),
    defineCommand({
      name: 'delete_rosteritem',
      summary: 'Takes a contact out of the roster of an account, and ends the subscriptions.',
      args: { account: arg.account('The account'), contact: arg.jid('The contact') },
      async run({ account, contact }) {
        const roster = await rosters.load(account)
        const jid = contact.bare
        if (roster.get(jid) === undefined) {
          throw new CommandError('not_found', `${jid} is not in the roster of ${account.jid}`)
        }
        await rosters.remove(roster, jid)
        return 'removed'
      },
    }),
  ]
}
