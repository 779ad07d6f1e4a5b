import { opt } from '../../config/schema.ts'
import { arg, CommandError } from '../../core/commands/command.ts'
import { commanded } from '../../core/commands/result.ts'
import { defineModule } from '../../core/module.ts'
import { Jid } from '../../xmpp/jid.ts'
import { accountCommands } from './accounts.ts'
import { Administration } from './administration.ts'
import { JidList, listCommands, serviceLists } from './lists.ts'
import { numberCommands } from './numbers.ts'
import { adminListCommand, announceCommands, leavingCommands } from './service.ts'

declare module '../../core/services.ts' {
  interface ServiceMap {
    /** Whom administrators have made administrators of this host, beyond the configuration (XEP-0133 4.29). */
    admins: { has(account: Jid): boolean; appoint(user: string): Promise<void> }
  }
}

export const mod_configure = defineModule({
  name: 'mod_configure',
  xep: { number: 133, version: '1.3.1', name: 'Service Administration' },
  summary: 'Lets administrators manage accounts and the service from their clients.',
  options: {
    access: opt.access('configure', 'Who administers this host.'),
    max_list_size: opt.int(10_000, 'Addresses in the blacklist, in the whitelist, and administrators made by others.', {
      min: 1,
    }),
  },
  async start(ctx) {
    const { access, max_list_size: max } = ctx.options
    const admin = new Administration(ctx)
    const table = ctx.table<true>({ name: 'service_lists' })
    const lists = await serviceLists(ctx, table, access, max)

    const appointed = new JidList('admins', ctx, table, max)
    await appointed.load()
    ctx.provide('admins', {
      has: jid => appointed.has(jid.bare.toString()),
      appoint: user => appointed.add(Jid.of(user, ctx.host.name).toString()),
    })
    // Whoever takes the name later is somebody else.
    ctx.hook('remove_user', ({ user }) => appointed.remove(user.toString()))

    for (const command of accountCommands(admin)) ctx.adhoc(command)
    for (const command of numberCommands(admin)) ctx.adhoc(command)
    for (const command of listCommands(admin, lists)) ctx.adhoc(command)
    for (const command of leavingCommands(admin)) ctx.adhoc(command)
    ctx.adhoc(adminListCommand(admin, appointed))
    ctx.adhoc(() => announceCommands(admin))

    const LIST = {
      host: arg.host('The host'),
      list: arg.text('Which list', { values: ['blacklist', 'whitelist'] }),
    }
    ctx.command({
      name: 'service_list_get',
      summary: 'Shows whom a host does not deal with (blacklist), or whom alone it deals with (whitelist).',
      args: LIST,
      returns: { jid: 'jid' },
      run: ({ list }) => [...lists[list]].map(jid => ({ jid })),
    })
    ctx.command({
      name: 'service_list_add',
      summary: 'Adds an address or a domain to the blacklist or whitelist of a host.',
      args: { ...LIST, jid: arg.jid('An address, or a domain') },
      example: 'service_list_add localhost blacklist spam.example',
      async run({ host, list, jid }) {
        if (jid.equals(host.jid)) throw new CommandError('usage', `${host.name} is the host itself`)
        await commanded(lists[list].add(jid.toString()))
        return 'added'
      },
    })
    ctx.command({
      name: 'service_list_remove',
      summary: 'Takes an address or a domain off the blacklist or whitelist of a host.',
      args: { ...LIST, jid: arg.jid('An address, or a domain') },
      async run({ host, list, jid }) {
        const found = lists[list]
        if (!found.has(jid.toString()))
          throw new CommandError('not_found', `${jid} is not in the ${list} of ${host.name}`)
        await found.remove(jid.toString())
        return 'removed'
      },
    })
  },
})
