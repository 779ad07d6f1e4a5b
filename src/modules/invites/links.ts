import { type Element, NS } from '../../xml/index.ts'
import { dataForm } from '../../xmpp/forms.ts'
import type { Invite } from './invites.ts'

/** XEP-0401 5.1 and 5.3. `ibr`: the invited may make an account here with it (XEP-0445). */
export function inviteUri(host: string, token: string, { type, inviter, username }: Invite, ibr: boolean): string {
  if (inviter !== undefined && username === undefined && type !== 'account_only') {
    return `xmpp:${address(inviter, host)}?roster;preauth=${token}${ibr && type === 'account_subscription' ? ';ibr=y' : ''}`
  }
  return `xmpp:${username === undefined ? host : address(username, host)}?register;preauth=${token}`
}

/** RFC 5122 2.2: what is not plain in a URI is escaped. */
function address(user: string, host: string): string {
  return `${encodeURIComponent(user)}@${host}`
}

/** The page that the operator has put up for who has no client yet. */
export function landingPage(template: string, host: string, token: string, uri: string): string {
  const values: Record<string, string> = { host, 'invite.token': token, 'invite.uri': encodeURIComponent(uri) }
  return template.replace(/\{\{\s*([a-z.]+)\s*\}\}/g, (all, name: string) => values[name] ?? all)
}

/** XEP-0401 5.1. */
export function inviteForm(uri: string, landing: string | undefined, expires: number): Element {
  const field = (name: string, label: string, value: string) => ({
    var: name,
    type: 'text-single',
    label,
    values: [value],
  })
  return dataForm('result', NS.INVITATION, [
    field('uri', 'Invitation', uri),
    ...(landing === undefined ? [] : [field('landing-url', 'Page to send to the invited', landing)]),
    field('expire', 'Good until', new Date(expires).toISOString()),
  ])
}
