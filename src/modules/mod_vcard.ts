import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import { Changes } from '../core/changes.ts'
import { arg, CommandError } from '../core/commands/command.ts'
import { commanded } from '../core/commands/result.ts'
import { defineModule } from '../core/module.ts'
import { cut } from '../util/text.ts'
import { type Element, findChild, NS, parseElement, serialize, textOf, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /**
     * A user's vCard is about to be stored. A handler may put another one in its place, or throws StanzaError to refuse it.
     * `asked`: a client sent it, all of it; else the server changes it, by what was said elsewhere.
     */
    vcard_set: Async<{ account: Account; vcard: Element; asked: boolean }>
    /** A user's vCard is durable. */
    vcard_stored: Async<{ account: Account; vcard: Element; asked: boolean }>
    /** A user's vCard is about to be shown; undefined where none is stored. A handler may put another one in its place. */
    vcard_get: Async<{ account: Account; vcard: Element | undefined; asker: Jid }>
  }
}

/** The vCards of accounts (XEP-0054), for other modules. */
export interface VCardService {
  /** Everybody may read them. */
  readonly isPublic: boolean
  /** As it is stored: without the picture, where that is kept elsewhere. */
  get(account: Account): Promise<Element | undefined>
  /** As `asker` may see it. */
  show(account: Account, asker: Jid): Promise<Element | undefined>
  /**
   * Stores what `change` makes of the present one, one change of an account after the other; nothing where it gives
   * undefined. Rejects with the StanzaError that a client would get.
   */
  change(account: Account, change: Change, asked: boolean): Promise<void>
}

type Change = (now: Element | undefined) => Element | undefined

declare module '../core/services.ts' {
  interface ServiceMap {
    vcard: VCardService
  }
}

export const mod_vcard = defineModule({
  name: 'mod_vcard',
  xep: { number: 54, version: '1.3.0', name: 'vcard-temp' },
  summary: 'Keeps the vCards of users: name, picture and what else they tell of themselves.',
  options: {
    max_size: opt.size(
      '192 KiB',
      'Largest vCard; where `mod_avatar` runs, the picture does not count: it has its own limit.',
      { min: 1024 },
    ),
    privacy: opt.oneOf(
      ['everyone', 'contacts'],
      'everyone',
      'Who may read a vCard; `contacts` are those who may see the user’s presence.',
    ),
  },
  start(ctx) {
    const { max_size: maxSize, privacy } = ctx.options
    const table = ctx.userTable<string>({ name: 'vcard', version: 1 })
    ctx.feature(NS.VCARD, 'server', 'account')

    const changes = new Changes()
    const service: VCardService = {
      isPublic: privacy === 'everyone',
      async get(account) {
        const text = await table.get([account.user], [])
        return text === undefined ? undefined : parseElement(text)
      },
      async show(account, asker) {
        const event = { account, vcard: await service.get(account), asker }
        await ctx.host.hooks.run('vcard_get', event)
        return event.vcard
      },
      async change(account, change, asked) {
        const vcard = await changes.run(account.user, () => store(account, change, asked))
        if (vcard !== undefined) await ctx.host.hooks.run('vcard_stored', { account, vcard, asked })
      },
    }
    ctx.provide('vcard', service)

    const store = async (account: Account, change: Change, asked: boolean): Promise<Element | undefined> => {
      const vcard = change(await service.get(account))
      if (vcard === undefined) return undefined
      const event = { account, vcard, asked }
      await ctx.host.hooks.run('vcard_set', event)
      const text = serialize(event.vcard)
      if (Buffer.byteLength(text) > maxSize) {
        throw new StanzaError('policy-violation', `a vCard may have ${maxSize} bytes, this one is larger`)
      }
      await table.put([account.user], [], text)
      return event.vcard
    }

    ctx.iq('own', 'set', NS.VCARD, 'vCard', async ({ account, payload }) => {
      await service.change(account, () => payload, true)
    })

    ctx.iq('account', 'get', NS.VCARD, 'vCard', async ({ own, account, from }) => {
      const mayRead =
        own ||
        (account !== undefined &&
          (privacy === 'everyone' || ctx.use('roster')?.isSubscribedFrom(account, from.bare) === true))
      const vcard = mayRead ? await service.show(account!, from) : undefined
      // XEP-0054 3.3: no vCard and no account give the same answer.
      if (vcard === undefined) throw new StanzaError(own ? 'item-not-found' : 'service-unavailable')
      return vcard
    })

    const args = { account: arg.account('The account'), name: arg.text('Name of the field, such as FN or NICKNAME') }
    const subname = arg.text('Name of the part, such as FAMILY of N or USERID of EMAIL')
    const content = arg.text('Its text; an empty one takes it away')
    const field = async (account: Account, ...path: readonly string[]): Promise<string> => {
      let at = await service.show(account, account.jid)
      for (const name of path) at = at && findChild(at, fieldName(name))
      if (at !== undefined) return textOf(at)
      throw new CommandError('not_found', `the vCard of ${account.jid} has no ${path.join(' ')}`)
    }
    const setField = async (account: Account, value: string, ...path: readonly string[]): Promise<void> => {
      if (path.some(name => fieldName(name) === 'PHOTO')) {
        throw new CommandError('usage', 'for the picture there is set_picture')
      }
      await commanded(service.change(account, now => withField(now, path.map(fieldName), value), false))
    }

    ctx.command({
      name: 'get_vcard',
      summary: 'Shows a field of the vCard of an account.',
      args,
      example: 'get_vcard alice@localhost NICKNAME',
      run: ({ account, name }) => field(account, name),
    })
    ctx.command({
      name: 'get_vcard2',
      summary: 'Shows a part of a field of the vCard of an account.',
      args: { ...args, subname },
      example: 'get_vcard2 alice@localhost N FAMILY',
      run: ({ account, name, subname }) => field(account, name, subname),
    })
    ctx.command({
      name: 'set_vcard',
      summary: 'Sets a field of the vCard of an account.',
      args: { ...args, content },
      example: 'set_vcard alice@localhost NICKNAME al',
      run: ({ account, name, content }) => setField(account, content, name),
    })
    ctx.command({
      name: 'set_vcard2',
      summary: 'Sets a part of a field of the vCard of an account.',
      args: { ...args, subname, content },
      example: 'set_vcard2 alice@localhost ORG ORGNAME Acme',
      run: ({ account, name, subname, content }) => setField(account, content, name, subname),
    })
  },
})

/** The names of XEP-0054 are in capitals. Throws CommandError. */
function fieldName(name: string): string {
  if (!/^[A-Za-z][A-Za-z0-9-]{0,31}$/.test(name)) throw new CommandError('usage', `"${cut(name, 50)}" is no field`)
  return name.toUpperCase()
}

/** The vCard with this text at the end of the path, the first of its name; a text that is empty takes it away. */
function withField(now: Element | undefined, path: readonly string[], value: string): Element {
  const card = now ?? xml('vCard', { xmlns: NS.VCARD })
  const [name, ...rest] = path
  const there = findChild(card, name!)
  if (rest.length > 0) {
    const field = there ?? xml(name!)
    if (there === undefined) card.append(field)
    withField(field, rest, value)
  } else if (there !== undefined) {
    card.children = value === '' ? card.children.filter(child => child !== there) : card.children
    there.children = [value]
  } else if (value !== '') card.append(xml(name!, {}, value))
  return card
}
