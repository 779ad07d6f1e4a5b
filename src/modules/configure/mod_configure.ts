import { opt } from '../../config/schema.ts'
import { arg, CommandError } from '../../core/commands/command.ts'
import { defineModule } from '../../core/module.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import { accountCommands } from './accounts.ts'
import { Administration } from './administration.ts'
import { JidList, listCommands, serviceLists } from './lists.ts'
import { numberCommands } from './numbers.ts'
import { adminListCommand, announceCommands, leavingCommands } from './service.ts'

/** What `hermodctl` edits the lists of a host by. */
interface ServiceLists {
  black: JidList
  white: JidList
}

declare module '../../core/services.ts' {
  interface ServiceMap {
    service_lists: ServiceLists
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
    const admin = new Administration(ctx, access)
    const table = ctx.table<true>({ name: 'service_lists' })
    const lists = await serviceLists(ctx, table, access, max)
    ctx.provide('service_lists', lists)

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
    for (const command of listCommands(admin, lists.black, lists.white)) ctx.adhoc(command)
    for (const command of leavingCommands(admin)) ctx.adhoc(command)
    ctx.adhoc(adminListCommand(admin, appointed))
    ctx.adhoc(() => announceCommands(admin))

    const of = (host: string, list: string): JidList => {
      const there = ctx.host.router.hosts.get(host)?.services.use('service_lists')
      if (there === undefined) throw new CommandError('not_found', `mod_configure does not run on ${host}`)
      return list === 'blacklist' ? there.black : there.white
    }
    const LIST = {
      host: arg.host('The host'),
      list: arg.text('Which list', { values: ['blacklist', 'whitelist'] }),
    }
    ctx.command({
      name: 'service_list_get',
      summary: 'Shows whom a host does not deal with (blacklist), or whom alone it deals with (whitelist).',
      args: LIST,
      columns: ['jid'],
      run: ({ host, list }) => [...of(host, list)].map(jid => ({ jid })),
    })
    ctx.command({
      name: 'service_list_add',
      summary: 'Adds an address or a domain to the blacklist or whitelist of a host.',
      args: { ...LIST, jid: arg.jid('An address, or a domain') },
      example: 'service_list_add localhost blacklist spam.example',
      async run({ host, list, jid }) {
        if (Jid.from(jid).toString() === host) throw new CommandError('usage', `${host} is the host itself`)
        try {
          await of(host, list).add(jid)
        } catch (error) {
          if (error instanceof StanzaError) throw new CommandError('failed', error.text ?? error.condition)
          throw error
        }
        return 'added'
      },
    })
    ctx.command({
      name: 'service_list_remove',
      summary: 'Takes an address or a domain off the blacklist or whitelist of a host.',
      args: { ...LIST, jid: arg.jid('An address, or a domain') },
      async run({ host, list, jid }) {
        const found = of(host, list)
        if (!found.has(jid)) throw new CommandError('not_found', `${jid} is not in the ${list} of ${host}`)
        await found.remove(jid)
        return 'removed'
      },
    })
  },
})
