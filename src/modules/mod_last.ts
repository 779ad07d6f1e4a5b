import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import { arg } from '../core/commands.ts'
import { FILTER, OBSERVE } from '../core/hooks.ts'
import type { Host } from '../core/host.ts'
import { defineModule } from '../core/module.ts'
import { accountNamed } from '../core/people.ts'
import { type Session, Slot } from '../core/session.ts'
import type { TableSpec } from '../storage/store.ts'
import { cut } from '../util/text.ts'
import { type Element, elementNs, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'

/** When an account was last online (ms since 1970), and what it said when it left. One row `[user]`. */
interface Last {
  at: number
  status: string
}

const TABLE: TableSpec<Last> = { name: 'last', version: 1 }
/** Characters kept of a farewell; strangers do not write it, but it is kept for long. */
const MAX_STATUS = 1024
/** On a session that told everybody that it leaves: its end is no news. */
const LEFT = new Slot<true>('mod_last')

export const mod_last = defineModule({
  name: 'mod_last',
  xep: { number: 12, version: '2.0' },
  summary: 'Tells who may know it when a user was last online, and anyone how long the server has been up.',
  options: {
    privacy: opt.oneOf(
      ['everyone', 'contacts', 'nobody'],
      'contacts',
      'Who is told when a user was last online: `contacts` are those who may see the user’s presence; with `nobody` it is not kept at all, and what was kept is deleted.',
    ),
  },
  async start(ctx) {
    const { privacy } = ctx.options
    const table = ctx.table(TABLE)
    ctx.feature(NS.LAST)
    ctx.iq('server', 'get', NS.LAST, 'query', () => answer(ctx.uptime()))

    const mayKnow = (account: Account | undefined, asking: Jid): account is Account => {
      if (account === undefined) return false
      if (asking.bare.equals(account.jid) || privacy === 'everyone') return true
      return privacy === 'contacts' && ctx.use('roster')?.isSubscribedFrom(account, asking.bare) === true
    }

    ctx.iq('account', 'get', NS.LAST, 'query', async ({ account, from }) => {
      // XEP-0012 3; an account that does not exist is none that may be seen.
      if (!mayKnow(account, from)) throw new StanzaError('forbidden')
      if (account.available().length > 0 || (account.jid.equals(from.bare) && account.sessions.size > 0))
        return answer(0)
      const last = await table.get([account.user], [])
      if (last === undefined) throw new StanzaError('item-not-found')
      return answer(ctx.now() - last.at, last.status)
    })

    // XEP-0012 4: what is asked of a client is its own to answer, but only to those who may know that it is there.
    ctx.hook(
      'filter_packet',
      ({ stanza }) => {
        if (stanza.kind !== 'iq' || stanza.to!.domain !== ctx.host.name || !isQueryOfClient(stanza)) return
        const account = ctx.account(stanza.to!.local)
        const check = (found: Account | undefined): void => {
          if (!mayKnow(found, stanza.from)) throw new StanzaError('forbidden')
        }
        return account instanceof Promise ? account.then(check) : check(account)
      },
      { order: FILTER, failClosed: true },
    )

    ctx.command({
      name: 'get_last',
      summary: 'Tells when an account was last online.',
      args: { account: arg.account('The account') },
      columns: ['state', 'at', 'status'],
      example: 'get_last alice@localhost',
      async run({ account }) {
        const found = await accountNamed(ctx.host.router, account)
        if (found.available().length > 0) return [{ state: 'online', at: null, status: null }]
        const last = await found.host.store.table(found.host.name, TABLE).get([found.user], [])
        if (last === undefined) return [{ state: 'unknown', at: null, status: null }]
        return [{ state: 'offline', at: new Date(last.at).toISOString(), status: last.status }]
      },
    })

    if (privacy === 'nobody') return forget(ctx.host)

    const left = (session: Session, status: string): void => {
      const last = { at: ctx.now(), status: cut(status, MAX_STATUS) }
      table.put([session.account.user], [], last).catch((error: unknown) => {
        ctx.log.warn({ err: error, user: session.account.user }, 'could not note when a user was last online')
      })
    }
    ctx.hook('unset_presence', ({ session, status }) => {
      session.slots.set(LEFT, true)
      left(session, status ?? '')
    })
    ctx.hook('set_presence', ({ session }) => session.slots.delete(LEFT))
    // After those that turn the end of a session into unset_presence.
    ctx.hook(
      'session_closed',
      ({ session }) => {
        if (session.slots.get(LEFT) === undefined) left(session, '')
      },
      { order: OBSERVE },
    )
    ctx.hook('remove_user', ({ user }) => table.del([user.local], []))
  },
})

function answer(ms: number, status?: string): Element {
  return xml('query', { xmlns: NS.LAST, seconds: String(Math.max(0, Math.floor(ms / 1000))) }, status)
}

function isQueryOfClient(stanza: Stanza): boolean {
  const { to, type, payload } = stanza
  if (type !== 'get' || to!.resource === '' || to!.local === '') return false
  return payload!.name === 'query' && elementNs(payload!) === NS.LAST
}

/** Deletes what was kept before the operator chose that nothing is. */
async function forget(host: Host): Promise<void> {
  const table = host.store.table(host.name, TABLE)
  for (;;) {
    const keys = await table.partitions(undefined, 1000)
    if (keys.length === 0) return
    for (const key of keys) await table.clear(key)
  }
}
