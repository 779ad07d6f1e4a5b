import {
  type AdHocCommand,
  type AdHocDone,
  answerOf,
  cannotBeDone,
  type FormAnswers,
  formStage,
} from '../../core/adhoc.ts'
import type { TableRow } from '../../core/commands/command.ts'
import { accountOf, sessionsOf } from '../../core/directory.ts'
import { cut } from '../../util/text.ts'
import { type Element, NS, serialize, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { dataForm, type FormField } from '../../xmpp/forms.ts'
import { Jid } from '../../xmpp/jid.ts'
import { type Administration, one, result } from './administration.ts'

const JID: FormField = {
  var: 'accountjid',
  type: 'jid-single',
  label: 'The Jabber ID of the account',
  required: true,
  values: [],
}
const JIDS: FormField = { ...JID, var: 'accountjids', type: 'jid-multi', label: 'The Jabber ID(s) of the accounts' }
const PASSWORD = { type: 'text-private', required: true, values: [] }

/** Of a new user; kept in the vCard. */
const ABOUT: readonly FormField[] = [
  { var: 'email', type: 'text-single', label: 'Email address', values: [] },
  { var: 'given_name', type: 'text-single', label: 'Given name', values: [] },
  { var: 'surname', type: 'text-single', label: 'Family name', values: [] },
]

/** Accounts that one command is about. */
const MAX_ADDRESSES = 1000
/** Characters of the rosters of one answer, as they are sent. */
const MAX_ROSTERS = 512 * 1024

/** XEP-0133 4.1 to 4.10, of accounts of this host. */
export function accountCommands(admin: Administration): AdHocCommand[] {
  const { ctx } = admin

  /**
   * Addresses in the field, each once, all of accounts that this host serves; or may serve, where they need not exist. Bare
   * ones, unless sessions are meant.
   */
  const addresses = async (values: FormAnswers, field: string, { exist = true, full = false } = {}): Promise<Jid[]> => {
    const texts = new Set((values.get(field) ?? []).map(text => text.trim()).filter(text => text !== ''))
    if (texts.size > MAX_ADDRESSES) throw cannotBeDone(`at most ${MAX_ADDRESSES} accounts at once`)
    const jids = new Map<string, Jid>()
    for (const text of texts) {
      const jid = Jid.parse(text)
      if (jid === undefined || jid.local === '') throw cannotBeDone(`${cut(text, 100)} is no address of an account`)
      if (jid.domain !== ctx.host.name) throw new StanzaError('item-not-found', `${jid.domain} is not this host`)
      if (exist && !(await ctx.host.users.exists(jid.local))) {
        throw new StanzaError('item-not-found', `there is no account ${jid.bare}`)
      }
      const named = full ? jid : jid.bare
      jids.set(named.toString(), named)
    }
    if (jids.size === 0) throw cannotBeDone('name an account')
    return [...jids.values()]
  }
  /** A command about one address or several, one declared command each. */
  const each = (node: string, name: string, act: (jid: Jid) => Promise<unknown>, full = false): AdHocCommand =>
    admin.command(node, name, from =>
      formStage(NS.ADMIN, { title: name }, [JIDS], async values => {
        const jids = await addresses(values, 'accountjids', { full })
        for (const jid of jids) admin.mustReach(from, jid)
        for (const jid of jids) await act(jid)
        return one('info', 'Done')
      }),
    )
  const asked = (node: string, name: string, answer: (jids: Jid[]) => Promise<AdHocDone>, field = JIDS): AdHocCommand =>
    admin.command(node, name, () =>
      formStage(NS.ADMIN, { title: name }, [field], async values => answer(await addresses(values, field.var))),
    )

  return [
    admin.command('add-user', 'Add a user', from =>
      formStage(
        NS.ADMIN,
        { title: 'Add a user' },
        [
          JID,
          { ...PASSWORD, var: 'password', label: 'The password for this account' },
          { ...PASSWORD, var: 'password-verify', label: 'Retype password' },
          ...ABOUT,
        ],
        async values => {
          const [jid] = await addresses(values, 'accountjid', { exist: false })
          admin.mustReach(from, jid!)
          const password = values.get('password')![0]!
          if (values.get('password-verify')?.[0] !== password) throw cannotBeDone('the two passwords differ')
          await admin.run('register', { account: jid!.toString(), password })
          await introduce(admin, jid!, values)
          return one('info', `${jid} can log in now`)
        },
      ),
    ),
    each('delete-user', 'Delete users', jid => admin.run('unregister', { account: jid.toString() })),
    each('disable-user', 'Disable users', jid => admin.run('ban_account', { account: jid.toString() })),
    each('reenable-user', 'Re-enable users', jid => admin.run('unban_account', { account: jid.toString() })),
    each(
      'end-user-session',
      'End sessions of users',
      jid =>
        jid.isBare
          ? admin.run('kick_user', { account: jid.toString() })
          : admin.run('kick_session', { jid: jid.toString() }),
      true,
    ),
    admin.command('change-user-password', 'Change the password of a user', from =>
      formStage(
        NS.ADMIN,
        { title: 'Change the password of a user' },
        [JID, { ...PASSWORD, var: 'password', label: 'The password for this account' }],
        async values => {
          const [jid] = await addresses(values, 'accountjid')
          admin.mustReach(from, jid!)
          await admin.run('change_password', { account: jid!.toString(), password: values.get('password')![0]! })
          return one('info', `${jid} has a new password`)
        },
      ),
    ),
    asked('get-user-roster', 'Get the roster of a user', async jids => {
      const rosters: Element[] = []
      let length = 0
      for (const jid of jids) {
        const roster = xml('query', { xmlns: NS.ROSTER }, await rosterOf(admin, jid))
        length += serialize(roster).length
        // The first is whole, whatever its size: it has bounds of its own.
        if (length > MAX_ROSTERS && rosters.length > 0) break
        rosters.push(roster)
      }
      const shown = jids.slice(0, rosters.length)
      const form = dataForm('result', NS.ADMIN, [{ ...JIDS, values: shown.map(String) }])
      for (const roster of rosters) form.append(roster)
      if (shown.length === jids.length) return { payload: form }
      const text = `The rosters of the first ${shown.length} of ${jids.length} accounts`
      return { payload: form, notes: [{ type: 'warn', text }] }
    }),
    asked('get-user-lastlogin', 'Get the last login of a user', async jids => {
      const times: string[] = []
      for (const jid of jids) times.push(await lastSeen(admin, jid))
      return result([
        { ...JIDS, values: jids.map(String) },
        { var: 'lastlogin', label: 'The last login time', values: times },
      ])
    }),
    asked(
      'user-stats',
      'Get statistics of a user',
      async jids => {
        const jid = jids[0]!
        const sessions = [...sessionsOf(ctx.host.router, jid)]
        const roster = await rosterOf(admin, jid)
        return result([
          { ...JID, values: [jid.toString()] },
          {
            var: 'ipaddresses',
            type: 'list-multi',
            label: 'The IP addresses of the sessions',
            values: [...new Set(sessions.map(session => session.info.ip))],
          },
          { var: 'rostersize', label: 'Number of contacts', values: [String(roster.length)] },
          {
            var: 'onlineresources',
            type: 'list-multi',
            label: 'The names of the sessions',
            values: sessions.map(session => session.jid.resource),
          },
        ])
      },
      JID,
    ),
  ]
}

async function rosterOf({ ctx }: Administration, jid: Jid): Promise<Element[]> {
  const account = await accountOf(ctx.host.router, jid)
  const roster = ctx.use('roster')
  return account === undefined || roster === undefined ? [] : [...roster.items(account)]
}

/** XEP-0082. Of who is online when the newest session began, of others when they were last seen; empty where nobody knows. */
async function lastSeen(admin: Administration, jid: Jid): Promise<string> {
  const sessions = [...sessionsOf(admin.ctx.host.router, jid)]
  if (sessions.length > 0) return new Date(Math.max(...sessions.map(({ info }) => info.since))).toISOString()
  const [row] = (await admin.run('get_last', { account: jid.toString() })) as readonly TableRow[]
  return String(row?.['at'] ?? '')
}

/** A first vCard (XEP-0054), where something is told of the user. */
async function introduce({ ctx }: Administration, jid: Jid, values: FormAnswers): Promise<void> {
  const [email, given, family] = ABOUT.map(field => answerOf(values, field.var))
  if (email === undefined && given === undefined && family === undefined) return
  const name = [given, family].filter(part => part !== undefined)
  const vcard = xml(
    'vCard',
    { xmlns: NS.VCARD },
    name.length > 0 && xml('FN', {}, name.join(' ')),
    name.length > 0 && xml('N', {}, family && xml('FAMILY', {}, family), given && xml('GIVEN', {}, given)),
    email && xml('EMAIL', {}, xml('INTERNET'), xml('USERID', {}, email)),
  )
  const account = await accountOf(ctx.host.router, jid)
  if (account !== undefined) await ctx.use('vcard')?.change(account, () => vcard, true)
}
