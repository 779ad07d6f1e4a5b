import { type AdHocCommand, answerOf, type FormAnswers, formStage, linesOf } from '../../core/adhoc.ts'
import { NS } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import type { FormField } from '../../xmpp/forms.ts'
import { Jid } from '../../xmpp/jid.ts'
import { type Administration, one } from './administration.ts'
import { type JidList, jidsOf } from './lists.ts'

const DELAYS: readonly [seconds: string, label: string][] = [
  ['0', 'at once'],
  ['30', '30 seconds'],
  ['60', '60 seconds'],
  ['90', '90 seconds'],
  ['120', '2 minutes'],
  ['180', '3 minutes'],
  ['240', '4 minutes'],
  ['300', '5 minutes'],
]

/** XEP-0133 4.23 to 4.28; only where mod_announce runs. */
export function announceCommands(admin: Administration): AdHocCommand[] {
  const announce = admin.ctx.use('announce')
  if (announce === undefined) return []
  const text = (name: string, label: string, value = ''): FormField => ({
    var: name,
    type: 'text-multi',
    label,
    required: true,
    values: value === '' ? [] : value.split('\n'),
  })
  const form = (
    node: string,
    name: string,
    field: () => FormField | Promise<FormField>,
    act: (body: string) => unknown,
  ): AdHocCommand =>
    admin.command(node, name, async () => {
      const shown = await field()
      return formStage(NS.ADMIN, { title: name }, [shown], async values => {
        await act(linesOf(values, shown.var))
        return one('info', 'Done')
      })
    })
  return [
    form(
      'announce',
      'Send an announcement to users who are online',
      () => text('announcement', 'Announcement'),
      body => announce.online({ body }),
    ),
    form(
      'set-motd',
      'Set the message of the day',
      () => text('motd', 'Message of the day'),
      body => announce.setMotd({ body }),
    ),
    form(
      'edit-motd',
      'Edit the message of the day',
      async () => text('motd', 'Message of the day', (await announce.motd())?.body),
      body => announce.updateMotd({ body }),
    ),
    admin.command('delete-motd', 'Delete the message of the day', async () => {
      await announce.deleteMotd()
      return one('info', 'Deleted')
    }),
    form(
      'set-welcome',
      'Set the welcome message',
      async () => text('welcome', 'Welcome message', (await announce.welcome())?.body),
      body => announce.setWelcome({ body }),
    ),
    admin.command('delete-welcome', 'Delete the welcome message', async () => {
      await announce.setWelcome(undefined)
      return one('info', 'Deleted')
    }),
  ]
}

/** XEP-0133 4.29. Those of the configuration are administrators as long as it says so. */
export function adminListCommand(admin: Administration, appointed: JidList): AdHocCommand {
  return admin.command('edit-admin', 'Edit the list of administrators', () => {
    const named = admin.ctx
      .named('admin')
      .map(text => Jid.parse(text)?.toString())
      .filter(jid => jid !== undefined)
    const field = { var: 'adminjids', type: 'jid-multi', label: 'The administrators' }
    const values = [...new Set([...named, ...appointed])]
    return formStage(NS.ADMIN, { title: 'Administrators' }, [{ ...field, required: true, values }], async submitted => {
      const jids = jidsOf(submitted.get('adminjids') ?? []).map(text => Jid.from(text).bare.toString())
      const missing = named.find(jid => !jids.includes(jid))
      if (missing !== undefined) {
        throw new StanzaError('not-allowed', `${missing} is an administrator by the configuration file`)
      }
      const added = jids.filter(jid => !named.includes(jid))
      for (const jid of added) await checkAccount(admin, Jid.from(jid), appointed)
      await appointed.replace(added)
      return one('info', `${named.length + added.length} administrators`)
    })
  })
}

/** An administrator is an account of this host: of a name that nobody has yet, anybody could make the account. */
async function checkAccount({ ctx }: Administration, jid: Jid, appointed: JidList): Promise<void> {
  if (appointed.has(jid.toString())) return
  if (jid.domain === ctx.host.name && jid.local !== '' && (await ctx.host.users.exists(jid.local))) return
  throw new StanzaError('item-not-found', `there is no account ${jid} on this host`)
}

/** XEP-0133 4.30 and 4.31. */
export function leavingCommands(admin: Administration): AdHocCommand[] {
  const leave = (node: string, name: string, what: string, command: string): AdHocCommand =>
    admin.command(
      node,
      name,
      () =>
        formStage(
          NS.ADMIN,
          { title: name },
          [
            {
              var: 'delay',
              type: 'list-single',
              label: `Time delay before ${what}`,
              values: ['60'],
              options: DELAYS.map(([value, label]) => ({ value, label })),
            },
            { var: 'announcement', type: 'text-multi', label: 'Announcement', values: [] },
          ],
          (values: FormAnswers) => {
            const delay = answerOf(values, 'delay') ?? '0'
            const announcement = linesOf(values, 'announcement') || `The service is ${what} in ${delay} seconds.`
            return admin.run(command, { delay, announcement }).then(() => one('info', `${what} in ${delay} s`))
          },
        ),
      command,
    )
  return [
    leave('restart', 'Restart the service', 'restarting', 'restart'),
    leave('shutdown', 'Shut down the service', 'shutting down', 'stop_kindly'),
  ]
}
