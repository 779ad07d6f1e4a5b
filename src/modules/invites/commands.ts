import { arg, type Columns, type Command, CommandError, defineCommand } from '../../core/commands/command.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import type { NewInvite } from './invites.ts'
import type { InviteMaker } from './mod_invites.ts'

const EXPIRE = arg.duration('How long it is good, such as 12h or 5d; default as configured', {
  optional: true,
  min: 1000,
})

const INVITE = { invite_uri: 'text', landing_page: 'text', expires: 'time' } as const satisfies Columns

export function inviteCommands(host: string, maker: InviteMaker): Command[] {
  const { invites } = maker
  /** An invitation for who has no account. */
  const make = async (wanted: Partial<NewInvite>) => {
    if (!maker.makesAccounts()) {
      throw new CommandError('failed', `mod_register does not run on ${host}: nobody could make an account`)
    }
    const token = await invites.create({ type: 'account_only', ...wanted })
    const invite = (await invites.find(token))!
    const { expires } = invite
    return [{ invite_uri: maker.uriOf(token, invite), landing_page: maker.landingOf(token, invite) ?? '', expires }]
  }
  return [
    defineCommand({
      name: 'generate_invite',
      summary: 'Makes a link with which somebody can make an account and choose its name.',
      args: {
        host: arg.host('The host'),
        uses: arg.int('Accounts that can be made with it; default 1', { optional: true, min: 1, max: 100_000 }),
        expire: EXPIRE,
      },
      returns: INVITE,
      example: 'generate_invite localhost 30 2d',
      run: ({ uses = 1, expire: lifetime }) => make({ uses, lifetime }),
    }),
    defineCommand({
      name: 'generate_invite_with_username',
      summary: 'Makes a link with which somebody can make this account, and choose its password.',
      args: { account: arg.account('The account to be', { exists: false }), expire: EXPIRE },
      returns: INVITE,
      async run({ account: { user, jid }, expire: lifetime }) {
        try {
          await maker.checkName(user)
        } catch (error) {
          if (error instanceof StanzaError) throw new CommandError('conflict', `${jid}: ${error.text}`)
          throw error
        }
        return make({ username: user, lifetime })
      },
    }),
    defineCommand({
      name: 'list_invites',
      summary: 'Lists the invitations of a host.',
      args: { host: arg.host('The host') },
      returns: {
        token: 'text',
        type: 'text',
        inviter: 'text',
        username: 'text',
        uses: 'int',
        created: 'time',
        expires: 'time',
        invite_uri: 'text',
      },
      async *run() {
        for await (const { token, invite } of invites.all()) {
          yield {
            ...invite,
            token,
            inviter: invite.inviter ?? '',
            username: invite.username ?? '',
            created: invite.createdAt,
            invite_uri: maker.uriOf(token, invite),
          }
        }
      },
    }),
    defineCommand({
      name: 'expire_invite',
      summary: 'Makes an invitation good for nothing.',
      args: { host: arg.host('The host'), token: arg.text('The token, as list_invites shows it') },
      async run({ token }) {
        if (await invites.delete(token)) return 'it is good for nothing now'
        throw new CommandError('not_found', `there is no such invitation; see list_invites ${host}`)
      },
    }),
    defineCommand({
      name: 'expire_invite_tokens',
      summary: 'Makes all invitations of a user good for nothing; how many.',
      args: { account: arg.account('The user', { exists: false }) },
      returns: 'int',
      async run({ account: { user } }) {
        const tokens = await invites.of(user)
        for (const token of tokens) await invites.delete(token)
        return tokens.length
      },
    }),
    defineCommand({
      name: 'cleanup_expired_invite_tokens',
      summary: 'Deletes invitations that have expired, of all hosts; how many. It also happens by itself.',
      args: { host: arg.host('Only of this host', { optional: true }) },
      returns: 'int',
      run: () => invites.sweep(),
    }),
  ]
}
