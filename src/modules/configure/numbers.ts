import { type AdHocCommand, answerOf, formStage } from '../../core/adhoc.ts'
import { count, PEOPLE } from '../../core/people.ts'
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

/** Who is meant, the node of their list, and its field. */
const LISTS = [
  ['registered', 'get-registered-users-list', 'registereduserjids'],
  ['disabled', 'get-disabled-users-list', 'disableduserjids'],
  ['online', 'get-online-users-list', 'onlineuserjids'],
  ['active', 'get-active-users', 'activeuserjids'],
  ['idle', 'get-idle-users', 'activeuserjids'], // as XEP-0133 4.22 has it
] as const

/** XEP-0133 4.13 to 4.22. */
export function numberCommands(admin: Administration): AdHocCommand[] {
  const { host } = admin.ctx
  return LISTS.flatMap(([word, list, jids]) => [
    admin.command(`get-${word}-users-num`, `Get the number of ${word} users`, async () => {
      const number = String(await count(PEOPLE[word](host)))
      return result([{ var: `${word}usersnum`, label: `The number of ${word} users`, values: [number] }])
    }),
    admin.command(list, `Get the list of ${word} users`, () =>
      formStage(NS.ADMIN, { title: `List of ${word} users` }, [MAX_ITEMS], async values => {
        const wanted = answerOf(values, 'max_items') ?? 'none'
        const limit = Math.min(wanted === 'none' ? MOST : Number(wanted), MOST)
        const found: string[] = []
        let more = false
        for await (const user of PEOPLE[word](host)) {
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
