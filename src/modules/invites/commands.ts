import { arg, type Command, CommandError, defineCommand } from '../../core/commands/command.ts'
import type { Router } from '../../core/router.ts'
import { parseDuration } from '../../util/duration.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import type { Invite } from './invites.ts'
import type { InviteMaker } from './mod_invites.ts'

const MAX_USES = 100_000
const EXPIRE = arg.text('How long it is good, such as 12h or 5d; default as configured', { optional: true })

export function inviteCommands(router: Router): Command[] {
  const makers = (): [host: string, maker: InviteMaker][] =>
    [...router.hosts].flatMap(([name, host]) => {
      const maker = host.services.use('invite_maker')
      return maker === undefined ? [] : [[name, maker]]
    })
  const of = (host: string): InviteMaker => {
    const maker = router.hosts.get(host)?.services.use('invite_maker')
    if (maker === undefined) throw new CommandError('not_found', `mod_invites does not run on ${host}`)
    return maker
  }
  /** As {@link of}, where an invitation is of use to who has no account. */
  const makerFor = (host: string): InviteMaker => {
    const maker = of(host)
    if (maker.makesAccounts()) return maker
    throw new CommandError('failed', `mod_register does not run on ${host}: nobody could make an account`)
  }
  const shown = ({ uriOf, landingOf }: InviteMaker, token: string, invite: Invite) => ({
    invite_uri: uriOf(token, invite),
    landing_page: landingOf(token, invite) ?? '',
    expires: new Date(invite.expires).toISOString(),
  })
  return [
    defineCommand({
      name: 'generate_invite',
      summary: 'Makes a link with which somebody can make an account and choose its name.',
      args: {
        host: arg.host('The host'),
        uses: arg.int('Accounts that can be made with it; default 1', { optional: true }),
        expire: EXPIRE,
      },
      columns: ['invite_uri', 'landing_page', 'expires'],
      example: 'generate_invite localhost 30 2d',
      async run({ host, uses = 1, expire }) {
        if (uses < 1 || uses > MAX_USES) throw new CommandError('usage', `uses is 1 to ${MAX_USES}`)
        const maker = makerFor(host)
        const token = await maker.invites.create({ type: 'account_only', uses, lifetime: lifetimeOf(expire) })
        return [shown(maker, token, (await maker.invites.find(token))!)]
      },
    }),
    defineCommand({
      name: 'generate_invite_with_username',
      summary: 'Makes a link with which somebody can make this account, and choose its password.',
      args: { account: arg.account('The account to be'), expire: EXPIRE },
      columns: ['invite_uri', 'landing_page', 'expires'],
      async run({ account, expire }) {
        const { local, domain } = Jid.from(account)
        const maker = makerFor(domain)
        try {
          await maker.checkName(local)
        } catch (error) {
          if (error instanceof StanzaError) throw new CommandError('conflict', `${account}: ${error.text}`)
          throw error
        }
        const lifetime = lifetimeOf(expire)
        const token = await maker.invites.create({ type: 'account_only', username: local, lifetime })
        return [shown(maker, token, (await maker.invites.find(token))!)]
      },
    }),
    defineCommand({
      name: 'list_invites',
      summary: 'Lists the invitations of a host.',
      args: { host: arg.host('The host') },
      columns: ['token', 'type', 'inviter', 'username', 'uses', 'created', 'expires', 'invite_uri'],
      async run({ host }, io) {
        const maker = of(host)
        const rows: Record<string, string | number>[] = []
        for await (const { token, invite } of maker.invites.all()) {
          rows.push({
            token,
            type: invite.type,
            inviter: invite.inviter ?? '',
            username: invite.username ?? '',
            uses: invite.uses,
            created: new Date(invite.createdAt).toISOString(),
            expires: new Date(invite.expires).toISOString(),
            invite_uri: maker.uriOf(token, invite),
          })
          if (rows.length % 1000 === 0) io.progress(`${rows.length} invitations`)
        }
        return rows
      },
    }),
    defineCommand({
      name: 'expire_invite',
      summary: 'Makes an invitation good for nothing.',
      args: { host: arg.host('The host'), token: arg.text('The token, as list_invites shows it') },
      async run({ host, token }) {
        if (await of(host).invites.delete(token)) return 'it is good for nothing now'
        throw new CommandError('not_found', `there is no such invitation; see list_invites ${host}`)
      },
    }),
    defineCommand({
      name: 'expire_invite_tokens',
      summary: 'Makes all invitations of a user good for nothing; how many.',
      args: { account: arg.account('The user') },
      async run({ account }) {
        const { local, domain } = Jid.from(account)
        const { invites } = of(domain)
        const tokens = await invites.of(local)
        for (const token of tokens) await invites.delete(token)
        return tokens.length
      },
    }),
    defineCommand({
      name: 'cleanup_expired_invite_tokens',
      summary: 'Deletes invitations that have expired, of all hosts; how many. It also happens by itself.',
      args: {},
      async run() {
        let number = 0
        for (const [, { invites }] of makers()) number += await invites.sweep()
        return number
      },
    }),
  ]
}

function lifetimeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = parseDuration(text)
  if (ms === undefined || ms < 1000) throw new CommandError('usage', `expire: a duration such as 12h, not "${text}"`)
  return ms
}
