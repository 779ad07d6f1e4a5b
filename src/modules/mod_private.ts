import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import { Changes } from '../core/changes.ts'
import { defineModule } from '../core/module.ts'
import { childElements, type Element, NS, parseElement, serialize, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** A user stores a piece. A handler that keeps a part of it elsewhere puts a piece without that part in its place. */
    private_write: Async<{ account: Account; piece: Element }>
    /** A piece is read: as it was stored, or empty. A handler puts one in its place that has what is kept elsewhere too. */
    private_read: Async<{ account: Account; piece: Element }>
  }
}

/** Characters of a namespace and name that data is kept under. */
const MAX_KEY = 1024

export const mod_private = defineModule({
  name: 'mod_private',
  xep: { number: 49, version: '1.2', name: 'Private XML Storage' },
  summary: 'Keeps data for clients, such as bookmarks and preferences, that only their user can read.',
  options: {
    max_size: opt.size('64 KiB', 'Largest piece of data.', { min: 1024 }),
    max_bytes: opt.size('1 MiB', 'All pieces that a user may keep, together.', { min: 1024 }),
    max_items: opt.int(100, 'Most pieces that a user may keep.', { min: 1, max: 10_000 }),
  },
  start(ctx) {
    const { max_size: maxSize, max_bytes: maxBytes, max_items: maxItems } = ctx.options
    /** `[user]` x `[namespace, name]` */
    const table = ctx.userTable<string>({ name: 'private', version: 1 })
    const changes = new Changes()
    ctx.feature(NS.PRIVATE, 'server', 'account')

    const store = async (account: Account, items: readonly Element[]): Promise<void> => {
      if (items.length === 0) throw new StanzaError('not-acceptable', 'there is nothing to keep')
      const pieces = new Map<string, { ck: readonly string[]; value: string }>()
      let growth = 0
      for (const item of items) {
        const ck = keyOf(item)
        const value = serialize(item)
        if (Buffer.byteLength(value) > maxSize) {
          throw new StanzaError('policy-violation', `a piece of data may have ${maxSize} bytes, this one is larger`)
        }
        pieces.set(ck.join(' '), { ck, value })
      }
      for (const { value } of pieces.values()) growth += Buffer.byteLength(value)
      const key = [account.user]
      const there = await table.scan(key, { limit: maxItems + 1 })
      const kept = new Set(there.map(row => row.ck.join(' ')))
      const fresh = [...pieces.keys()].filter(name => !kept.has(name)).length
      if (fresh > 0 && kept.size + fresh > maxItems) {
        throw new StanzaError('resource-constraint', `no more than ${maxItems} pieces of data are kept`)
      }
      let total = 0
      for (const { ck, value } of there) {
        const size = Buffer.byteLength(value)
        total += size
        if (pieces.has(ck.join(' '))) growth -= size
      }
      if (growth > 0 && total + growth > maxBytes) {
        throw new StanzaError('resource-constraint', `no more than ${maxBytes} bytes of data are kept`)
      }
      if (ctx.host.hooks.has('private_write')) {
        for (const item of items) {
          const event = { account, piece: item }
          await ctx.host.hooks.run('private_write', event)
          const ck = keyOf(item)
          pieces.set(ck.join(' '), { ck, value: serialize(event.piece) })
        }
      }
      await ctx.commit([...pieces.values()].map(({ ck, value }) => table.putOp(key, ck, value)))
    }
    ctx.iq('own', 'set', NS.PRIVATE, 'query', ({ account, payload }) =>
      changes.run(account.user, () => store(account, childElements(payload))),
    )

    ctx.iq('own', 'get', NS.PRIVATE, 'query', async ({ account, payload }) => {
      const [item, ...more] = childElements(payload)
      if (item === undefined || more.length > 0) throw new StanzaError('bad-request', 'ask for one piece of data')
      const [ns, name] = keyOf(item)
      const text = await table.get([account.user], [ns, name])
      const event = { account, piece: text === undefined ? xml(name, { xmlns: ns }) : parseElement(text) }
      await ctx.host.hooks.run('private_read', event)
      return xml('query', { xmlns: NS.PRIVATE }, event.piece)
    })
  },
})

/** XEP-0049 2.3: each piece has a namespace of its own. */
function keyOf(item: Element): [ns: string, name: string] {
  const ns = item.attrs['xmlns']
  if (ns === undefined || ns === NS.PRIVATE || ns.length + item.name.length > MAX_KEY) {
    throw new StanzaError('not-acceptable', 'a piece of data needs a namespace of its own')
  }
  return [ns, item.name]
}
