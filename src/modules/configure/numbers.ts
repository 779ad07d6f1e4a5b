import { type AdHocCommand, answerOf, formStage } from '../../core/adhoc.ts'
import type { Host } from '../../core/host.ts'
import { count, disabledUsers, isActive, isIdle, onlineAccounts, users } from '../../core/people.ts'
import { NS } from '../../xml/index.ts'
import { type Administration, result } from './administration.ts'

const MAX_ITEMS = {
  var: 'max_items',
  type: 'list-single',
  label: 'Maximum number of items to show',
  values: ['none'],
  options: ['25', '50', '75', '100', '150', '200', 'none'].map(value => ({ value })),
}
/** A form that a client can still show, and that fits a stanza. */
const MOST = 2000

interface Kind {
  /** In the nodes' names. */
  word: string
  list: string
  /** Of the list's field. */
  jids: string
  users(host: Host): AsyncIterable<string> | Iterable<string>
}

const KINDS: readonly Kind[] = [
  { word: 'registered', list: 'get-registered-users-list', jids: 'registereduserjids', users },
  { word: 'disabled', list: 'get-disabled-users-list', jids: 'disableduserjids', users: disabledUsers },
  {
    word: 'online',
    list: 'get-online-users-list',
    jids: 'onlineuserjids',
    users: host => onlineAccounts(host).map(account => account.user),
  },
  {
    word: 'active',
    list: 'get-active-users',
    jids: 'activeuserjids',
    users: host =>
      onlineAccounts(host)
        .filter(isActive)
        .map(account => account.user),
  },
  {
    word: 'idle',
    list: 'get-idle-users',
    jids: 'activeuserjids', // as XEP-0133 4.22 has it
    users: host =>
      onlineAccounts(host)
        .filter(isIdle)
        .map(account => account.user),
  },
]

/** XEP-0133 4.13 to 4.22. */
export function numberCommands(admin: Administration): AdHocCommand[] {
  const { host } = admin.ctx
  return KINDS.flatMap(({ word, list, jids, users }) => [
    admin.command(`get-${word}-users-num`, `Get the number of ${word} users`, async () => {
      const number = String(await count(asyncOf(users(host))))
      return result([{ var: `${word}usersnum`, label: `The number of ${word} users`, values: [number] }])
    }),
    admin.command(list, `Get the list of ${word} users`, () =>
      formStage(NS.ADMIN, { title: `List of ${word} users` }, [MAX_ITEMS], async values => {
        const wanted = answerOf(values, 'max_items') ?? 'none'
        const limit = Math.min(wanted === 'none' ? MOST : Number(wanted), MOST)
        const found: string[] = []
        let more = false
        for await (const user of users(host)) {
          more = found.length === limit
          if (more) break
          found.push(`${user}@${host.name}`)
        }
        const field = { var: jids, type: 'jid-multi', label: `The list of ${word} users`, values: found }
        return result([field], more ? [{ type: 'warn', text: `The first ${limit}; there are more` }] : [])
      }),
    ),
  ])
}

async function* asyncOf<T>(list: AsyncIterable<T> | Iterable<T>): AsyncGenerator<T> {
  yield* list
}
