import { arg, type Command, CommandError, defineCommand } from '../../core/commands/command.ts'
import { accountNamed } from '../../core/people.ts'
import type { Router } from '../../core/router.ts'
import { Jid } from '../../xmpp/jid.ts'
import { attribute, NONE } from '../../xmpp/subscription.ts'
import type { Roster } from './roster.ts'
import type { Rosters } from './rosters.ts'

const SUBSCRIPTIONS = ['none', 'to', 'from', 'both'] as const

export function rosterCommands(router: Router, rosters: Rosters): Command[] {
  const loaded = async (text: string): Promise<Roster> => rosters.load(await accountNamed(router, text))
  return [
    defineCommand({
      name: 'get_roster',
      summary: 'Lists the contacts of an account.',
      args: { account: arg.account('The account') },
      columns: ['jid', 'name', 'subscription', 'ask', 'groups'],
      async run({ account }) {
        const roster = await loaded(account)
        return [...roster.listed()].map(({ jid, name, subscription, groups }) => ({
          jid: jid.toString(),
          name: name ?? '',
          subscription: attribute(subscription),
          ask: subscription.out ? 'subscribe' : subscription.in ? 'asked' : '',
          groups: groups.join(', '),
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
        await rosters.set(await loaded(account), Jid.from(contact).bare, name, groups, state)
        return 'added'
      },
    }),
    defineCommand({
      name: 'delete_rosteritem',
      summary: 'Takes a contact out of the roster of an account, and ends the subscriptions.',
      args: { account: arg.account('The account'), contact: arg.jid('The contact') },
      async run({ account, contact }) {
        const roster = await loaded(account)
        const jid = Jid.from(contact).bare
        if (roster.get(jid) === undefined) {
          throw new CommandError('not_found', `${jid} is not in the roster of ${account}`)
        }
        await rosters.remove(roster, jid)
        return 'removed'
      },
    }),
  ]
}
