import { readFile } from 'node:fs/promises'
import type { Account } from '../core/account.ts'
import { changePresence } from '../core/availability.ts'
import { arg, CommandError } from '../core/commands/command.ts'
import { commanded, failing } from '../core/commands/result.ts'
import { FILTER } from '../core/hooks.ts'
import { defineModule } from '../core/module.ts'
import { type Session, Slot } from '../core/session.ts'
import { childText, findChild, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { type Card, readVCard, writeVCard } from '../xmpp/vcard.ts'

/** What a user tells of themselves, in one place; what is not said is not there. */
export interface Profile {
  name?: string
  nickname?: string
  /** Shown with presence where the client says nothing itself. */
  status?: string
  emails?: readonly string[]
  phones?: readonly string[]
  urls?: readonly string[]
  note?: string
  /** The organisation, then its units. */
  organization?: readonly string[]
  title?: string
  birthday?: string
  /** Who is told when the user was last online, where the user has chosen. */
  last_seen?: string
  picture?: { hash: string; type: string; width: number; height: number; size: number; link: string }
}

/** As a {@link Profile}, the picture as bytes of any format that is taken. Null says that there is none. */
type ProfileChange = { [K in keyof Omit<Profile, 'picture'>]?: Profile[K] | null } & { picture?: Buffer | null }

/** Profiles of accounts, for other modules, over vCard, vCard4, avatar and presence, which all follow. */
export interface ProfileService {
  get(account: Account): Promise<Profile>
  /** What is left out is removed. Rejects with StanzaError where a value cannot be. */
  set(account: Account, profile: ProfileChange): Promise<void>
  /** What is left out stays as it is. Rejects with StanzaError where a value cannot be. */
  update(account: Account, change: ProfileChange): Promise<void>
}

declare module '../core/services.ts' {
  interface ServiceMap {
    profile: ProfileService
  }
}

const TEXTS = ['name', 'nickname', 'status', 'note', 'title', 'birthday'] as const
const LISTS = ['emails', 'phones', 'urls', 'organization'] as const
/** What is said to nobody, but says who hears what: left out, it stays as it is. */
const LAST_SEEN = 'last_seen'
const FIELDS: readonly string[] = [...TEXTS, ...LISTS, LAST_SEEN]
const text = arg.text('A text', { optional: true })
const list = arg.list('Texts', { optional: true })
const PROFILE = {
  name: text,
  nickname: text,
  status: text,
  note: text,
  title: text,
  birthday: text,
  emails: list,
  phones: list,
  urls: list,
  organization: list,
  [LAST_SEEN]: text,
}
const MAX_TEXT = 1024
const MAX_NOTE = 8192
const MAX_ENTRIES = 20

/** The status of an account's profile. */
const STATUS = new Slot<string>('profile status')

export const mod_profile = defineModule({
  name: 'mod_profile',
  summary: 'One profile a user: name, status, picture, contact details, for administrators and other modules.',
  options: {},
  async start(ctx) {
    /** `[user]` */
    const table = ctx.userTable<{ status: string }>({ name: 'profile', version: 1 })
    await ctx.perAccount(STATUS, async ({ user }) => (await table.get([user], []))?.status)

    ctx.hook('user_send_packet', { order: FILTER }, event => {
      const { session, stanza } = event
      if (stanza.kind !== 'presence' || stanza.to !== undefined || stanza.type !== 'available') return
      if (findChild(stanza.el, 'status') !== undefined) return
      const status = session.account.slots.get(STATUS)
      if (status !== undefined) event.stanza = stanza.changed(el => void el.append(xml('status', {}, status)))
    })

    const setStatus = async (account: Account, status: string | undefined): Promise<void> => {
      const before = account.slots.get(STATUS)
      if (before === status) return
      if (status === undefined) {
        await table.del([account.user], [])
        account.slots.delete(STATUS)
      } else {
        await table.put([account.user], [], { status })
        account.slots.set(STATUS, status)
      }
      for (const session of account.available()) tellAgain(session, before, status)
    }

    const write = async (account: Account, change: ProfileChange, all: boolean): Promise<void> => {
      check(change)
      const last = ctx.use('last')
      if (change.last_seen && last?.choices.includes(change.last_seen) !== true) {
        throw new StanzaError('not-acceptable', `${LAST_SEEN} is one of ${last?.choices.join(', ') ?? 'nothing here'}`)
      }
      const avatar = ctx.use('avatar')
      const vcard = ctx.use('vcard')
      if (change.picture && avatar === undefined) throw new StanzaError('feature-not-implemented', 'mod_avatar is off')
      // The picture first: it is what is most likely to be refused.
      if (change.picture) await avatar!.set(account, change.picture)
      else if (change.picture === null || (all && change.picture === undefined)) await avatar?.remove(account)
      await vcard?.change(account, now => writeVCard(merged(now ? readVCard(now) : {}, change, all), now), false)
      if (change.status !== undefined || all) await setStatus(account, filled(change.status))
      if (change.last_seen !== undefined) await last?.setPrivacy(account, change.last_seen ?? undefined)
    }

    const profiles: ProfileService = {
      async get(account) {
        const vcard = await ctx.use('vcard')?.get(account)
        const picture = await ctx.use('avatar')?.get(account)
        const last_seen = ctx.use('last')?.privacy(account)
        const profile = profileOf(vcard === undefined ? {} : readVCard(vcard), statusOf(account), picture)
        return last_seen === undefined ? profile : { ...profile, last_seen }
      },
      set: (account, profile) => write(account, profile, true),
      update: (account, change) => write(account, change, false),
    }
    ctx.provide('profile', profiles)
    const account = arg.account('The account')

    ctx.command({
      name: 'get_profile',
      summary: 'Shows what a user tells of themselves.',
      args: { account },
      returns: { field: 'text', value: 'text' },
      example: 'get_profile alice@localhost',
      async run({ account }) {
        const { picture, ...said } = await profiles.get(account)
        const shown = picture === undefined ? said : { ...said, picture: picture.link }
        return Object.entries(shown).map(([field, value]) => ({ field, value: [value].flat().join(', ') }))
      },
    })
    ctx.command({
      name: 'set_profile',
      summary: 'Replaces what a user tells of themselves. What is left out is removed, the picture apart.',
      args: { account, profile: arg.object('The profile', PROFILE) },
      example: `set_profile alice@localhost '{"name": "Alice Liddell", "emails": ["alice@example.org"]}'`,
      async run({ account, profile }) {
        const before = await profiles.get(account)
        const removed = Object.fromEntries(
          FIELDS.filter(field => field in before && field !== LAST_SEEN).map(field => [field, null]),
        )
        await commanded(profiles.update(account, { ...removed, ...profile }))
      },
    })
    ctx.command({
      name: 'update_profile',
      summary: 'Changes one thing that a user tells of themselves.',
      args: {
        account,
        field: arg.text('What is changed', { values: FIELDS }),
        value: arg.text('Its text; for lists, entries with commas between them. Left out, it is removed.', {
          optional: true,
        }),
      },
      example: "update_profile alice@localhost status 'On holiday until Monday'",
      async run({ account, field, value }) {
        const list = (LISTS as readonly string[]).includes(field)
        const given = value === undefined || value.trim() === '' ? null : list ? entriesOf(value) : value
        await commanded(profiles.update(account, { [field]: given }))
      },
    })
    ctx.command({
      name: 'get_picture',
      summary: 'Shows the picture of an account, with a link to it.',
      args: {
        account,
        side: arg.int('Pixels that are wanted: the link is then to the smallest size that has them', {
          optional: true,
        }),
      },
      returns: { type: 'text', width: 'int', height: 'int', size: 'int', hash: 'text', link: 'text' },
      async run({ account, side }) {
        const picture = await ctx.use('avatar')?.get(account, side)
        if (picture === undefined) throw new CommandError('not_found', `${account.jid} has no picture`)
        return [picture]
      },
    })
    ctx.command({
      name: 'set_picture',
      summary: 'Gives an account a picture: PNG, JPEG, GIF or WebP. With neither file nor text, it is taken away.',
      args: {
        account,
        file: arg.file('A file on the machine of the server', { optional: true }),
        base64: arg.text('The picture itself in Base64, in place of a file', { optional: true }),
      },
      example: 'set_picture alice@localhost alice.png',
      async run({ account, file, base64 }) {
        await commanded(profiles.update(account, { picture: await readPicture(file, base64) }))
      },
    })
  },
})

function profileOf(card: Card, status: string | undefined, picture: Profile['picture']): Profile {
  const { name, nicknames, emails, phones, urls, note, organization, title, birthday } = card
  const values = (list: Card['emails']) => list?.map(entry => entry.value)
  const all = { name, nickname: nicknames?.[0], status, emails: values(emails), phones: values(phones), urls, note }
  const said = { ...all, organization, title, birthday, picture }
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)) as Profile
}

/** The card with a change laid over it; with `all`, what the change leaves out is not said any more. */
function merged(card: Card, change: ProfileChange, all: boolean): Card {
  const next = { ...card }
  const names = ['name', 'note', 'organization', 'title', 'birthday', 'urls'] as const
  const put = (key: keyof Card, value: unknown): void => {
    Object.assign(next, { [key]: (value as { length: number } | null | undefined)?.length ? value : undefined })
  }
  for (const name of names) if (change[name] !== undefined || all) put(name, change[name])
  if (change.nickname !== undefined || all) put('nicknames', change.nickname ? [change.nickname] : undefined)
  for (const name of ['emails', 'phones'] as const) {
    // What an address that stays is for, stays.
    const kinds = (value: string) => card[name]?.find(entry => entry.value === value)?.kinds ?? []
    const contacts = change[name]?.map(value => ({ value, kinds: kinds(value) }))
    if (change[name] !== undefined || all) put(name, contacts)
  }
  // A name in parts that says something else than the name would contradict it.
  if (next.name !== card.name) put('names', undefined)
  return next
}

function filled(text: string | null | undefined): string | undefined {
  return text === null || text === '' ? undefined : text
}

/** Throws StanzaError `not-acceptable`. */
function check(change: ProfileChange): void {
  const one = (field: string, value: unknown): void => {
    const most = field === 'note' ? MAX_NOTE : MAX_TEXT
    if (typeof value !== 'string' || value.length > most || !isXmlText(value)) {
      throw new StanzaError('not-acceptable', `${field} is a text of at most ${most} characters`)
    }
  }
  for (const field of TEXTS) if (change[field] !== undefined && change[field] !== null) one(field, change[field])
  for (const field of LISTS) {
    const list: unknown = change[field]
    if (list === undefined || list === null) continue
    if (!Array.isArray(list) || list.length > MAX_ENTRIES) {
      throw new StanzaError('not-acceptable', `${field} is a list of at most ${MAX_ENTRIES} texts`)
    }
    for (const value of list) one(field, value)
  }
}

/** XML 1.0, 2.2: what a client could not parse is never sent to one. */
function isXmlText(text: string): boolean {
  return !/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u.test(text)
}

/** What contacts see now, or would see. */
function statusOf(account: Account): string | undefined {
  const [session] = account.available().sort((a, b) => b.priority - a.priority)
  return filled(session && childText(session.presence!.el, 'status')) ?? account.slots.get(STATUS)
}

/** The present presence of a client goes out again with `status` where it had `before`, unless it says its own. */
function tellAgain(session: Session, before: string | undefined, status: string | undefined): void {
  if (childText(session.presence!.el, 'status') !== before) return
  changePresence(session, el => {
    el.children = el.children.filter(
      child => typeof child === 'string' || child.name !== 'status' || child.attrs['xmlns'] !== undefined,
    )
    if (status !== undefined) el.append(xml('status', {}, status))
  })
}

function entriesOf(text: string): string[] {
  return text
    .split(',')
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
}

/** Null where there is neither. Throws CommandError. */
async function readPicture(file: string | undefined, base64: string | undefined): Promise<Buffer | null> {
  if (file !== undefined && base64 !== undefined) throw new CommandError('usage', 'a file or Base64, not both')
  if (file === undefined) return base64 === undefined ? null : Buffer.from(base64, 'base64')
  return failing(readFile(file), `cannot read ${file}: `)
}
