import { opt } from '../config/schema.ts'
import { arg, type Command, defineCommand } from '../core/commands/command.ts'
import { OBSERVE, STOP } from '../core/hooks.ts'
import type { Host } from '../core/host.ts'
import { defineModule, type ModuleContext } from '../core/module.ts'
import { onlineAccounts, users } from '../core/people.ts'
import { type Session, Slot, takesMessages } from '../core/session.ts'
import type { Table } from '../storage/store.ts'
import { childText, type Element, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'

export interface Announcement {
  subject?: string
  body: string
}

/** Of one host. What is sent is queued for its accounts as any message is. */
interface AnnounceService {
  /** May send announcements to the accounts of this host, by its own rule. */
  allows(from: Jid): boolean
  /** To every account that has a session; how many. */
  online(text: Announcement): Promise<number>
  /** To every account; how many. */
  all(text: Announcement): Promise<number>
  motd(): Promise<Announcement | undefined>
  /** A new message of the day: to who is online now, to the others when they come. How many have it at once. */
  setMotd(text: Announcement): Promise<number>
  /** Other words for the message of the day; who has seen it does not see it again. */
  updateMotd(text: Announcement): Promise<void>
  deleteMotd(): Promise<void>
  welcome(): Promise<Announcement | undefined>
  /** What new accounts find waiting; undefined for nothing. */
  setWelcome(text: Announcement | undefined): Promise<void>
}

declare module '../core/services.ts' {
  interface ServiceMap {
    announce: AnnounceService
  }
}

interface Motd extends Announcement {
  id: string
}

const options = {
  access: opt.access('configure', 'Who may send announcements.'),
}
type Ctx = ModuleContext<typeof options>
/** On an account: the message of the day that it has been shown, so that not every presence asks the store. */
const SHOWN = new Slot<string>('message of the day')
/** One row: the message of the day, or the welcome. */
const MOTD = ['motd']
const WELCOME = ['welcome']

export const mod_announce = defineModule({
  name: 'mod_announce',
  summary: 'Sends announcements to all users of a host, shows a message of the day and a welcome to new accounts.',
  options,
  async start(ctx) {
    const texts = ctx.table<Motd>({ name: 'announce' })
    /** `[user]` x `[id]`: the message of the day that the account was sent. */
    const seen = ctx.userTable<true>({ name: 'motd_seen' })
    const announcer = new Announcer(ctx, texts, seen)
    await announcer.load()
    ctx.provide('announce', announcer)

    ctx.hook('set_presence', { order: OBSERVE }, ({ session }) => announcer.came(session))
    ctx.hook('register_user', { order: OBSERVE }, ({ user }) => announcer.joined(user))
    ctx.hook('host_packet', ({ stanza }) => {
      if (stanza.kind !== 'message' || !stanza.to!.resource.startsWith('announce/')) return
      return stanza.type === 'error' ? STOP : addressed(ctx, stanza).then(() => STOP)
    })
    for (const command of commands(announcer)) ctx.command(command)
  },
})

class Announcer implements AnnounceService {
  readonly #ctx: Ctx
  readonly #texts: Table<Motd>
  readonly #seen: Table<true>
  #motd: Motd | undefined

  constructor(ctx: Ctx, texts: Table<Motd>, seen: Table<true>) {
    this.#ctx = ctx
    this.#texts = texts
    this.#seen = seen
  }

  allows(from: Jid): boolean {
    return this.#ctx.allowed(this.#ctx.options.access, from)
  }

  async load(): Promise<void> {
    this.#motd = await this.#texts.get(MOTD, [])
  }

  online(text: Announcement): Promise<number> {
    return this.#toAll(text, each(onlineAccounts(this.#ctx.host).map(({ jid }) => jid)))
  }

  all(text: Announcement): Promise<number> {
    return this.#toAll(text, jids(this.#ctx.host))
  }

  #toAll(text: Announcement, to: AsyncIterable<Jid>): Promise<number> {
    const { host } = this.#ctx
    return host.fanout.sendAll('announce', Stanza.make(message(host, text), host.jid, undefined), to)
  }

  motd(): Promise<Announcement | undefined> {
    return Promise.resolve(this.#motd)
  }

  async setMotd(text: Announcement): Promise<number> {
    const motd = { ...text, id: this.#ctx.host.ids.random() }
    await this.#texts.put(MOTD, [], motd)
    this.#motd = motd
    const accounts = onlineAccounts(this.#ctx.host)
    for (const { jid } of accounts) await this.#show(jid, motd)
    return accounts.length
  }

  async updateMotd(text: Announcement): Promise<void> {
    const motd = { ...text, id: this.#motd?.id ?? this.#ctx.host.ids.random() }
    await this.#texts.put(MOTD, [], motd)
    this.#motd = motd
  }

  async deleteMotd(): Promise<void> {
    await this.#texts.del(MOTD, [])
    this.#motd = undefined
  }

  welcome(): Promise<Announcement | undefined> {
    return this.#texts.get(WELCOME, [])
  }

  async setWelcome(text: Announcement | undefined): Promise<void> {
    if (text === undefined) return this.#texts.del(WELCOME, [])
    await this.#texts.put(WELCOME, [], { ...text, id: '' })
  }

  /** A session takes messages: it is shown what the account has not seen. */
  came(session: Session): void {
    const motd = this.#motd
    if (motd === undefined || !takesMessages(session)) return
    const { jid, slots } = session.account
    if (slots.get(SHOWN) === motd.id) return
    slots.set(SHOWN, motd.id)
    this.#show(jid, motd).catch((error: unknown) => {
      slots.delete(SHOWN)
      this.#ctx.log.warn({ err: error, user: jid.local }, 'the message of the day was not shown')
    })
  }

  /** Waits in the queue of the new account for its first client. */
  async joined(user: Jid): Promise<void> {
    const text = await this.welcome()
    if (text !== undefined) this.#send(user, text)
  }

  /** Once for each account: it is noted before it is sent, so that two clients that come together make no two of it. */
  async #show({ local }: Jid, motd: Motd): Promise<void> {
    if (!(await this.#seen.putIfAbsent([local], [motd.id], true))) return
    this.#send(Jid.of(local, this.#ctx.host.name), motd)
    await this.#seen.clear([local], { lt: [motd.id] })
    await this.#seen.clear([local], { gt: [motd.id] })
  }

  #send(to: Jid, text: Announcement): void {
    const { host } = this.#ctx
    this.#ctx.route(Stanza.make(message(host, text), host.jid, to))
  }
}

function message({ ids }: Host, { subject, body }: Announcement): Element {
  const children = [subject !== undefined && xml('subject', {}, subject), xml('body', {}, body)]
  return xml('message', { type: 'normal', id: ids.random() }, children)
}

async function* jids(host: Host): AsyncGenerator<Jid> {
  for await (const user of users(host)) yield Jid.of(user, host.name)
}

async function* each(list: readonly Jid[]): AsyncGenerator<Jid> {
  yield* list
}

/** A message to HOST/announce/... , as in ejabberd. */
async function addressed(ctx: Ctx, stanza: Stanza): Promise<void> {
  const [, everywhere, what] = /^announce\/(all-hosts\/)?([a-z/]+)$/.exec(stanza.to!.resource) ?? []
  if (what === undefined || !/^(all|online|motd|motd\/update|motd\/delete)$/.test(what)) {
    throw new StanzaError('item-not-found', 'there is no such kind of announcement')
  }
  const hosts = everywhere === undefined ? [ctx.host] : [...ctx.host.router.hosts.values()]
  // Where announcements do not run, there is no rule, and nobody who would hear.
  const services = hosts.flatMap(({ services }) => services.use('announce') ?? [])
  if (!services.every(service => service.allows(stanza.from))) throw new StanzaError('forbidden')
  const body = childText(stanza.el, 'body') ?? ''
  const subject = childText(stanza.el, 'subject')
  const text: Announcement = subject === undefined ? { body } : { subject, body }
  if (body === '' && what !== 'motd/delete') throw new StanzaError('bad-request', 'an announcement needs a body')
  ctx.log.info({ what, by: stanza.from.toString() }, 'an administrator makes an announcement')
  for (const service of services) {
    const done = announce(service, what, text)
    if (what !== 'all') await done
    // To all accounts it takes a while: the administrator's stream does not wait for it.
    else void ctx.aside(done, 'an announcement did not reach all accounts')
  }
}

async function announce(service: AnnounceService, what: string, text: Announcement): Promise<void> {
  switch (what) {
    case 'all':
      await service.all(text)
      return
    case 'online':
      await service.online(text)
      return
    case 'motd':
      await service.setMotd(text)
      return
    case 'motd/update':
      return service.updateMotd(text)
    default:
      return service.deleteMotd()
  }
}

function commands(announcer: Announcer): Command[] {
  const HOST = { host: arg.host('The host') }
  const TEXT = {
    ...HOST,
    subject: arg.text('Subject; may be empty', { optional: true }),
    body: arg.text('What it says'),
  }
  const text = ({ subject, body }: { subject: string | undefined; body: string }): Announcement =>
    subject === undefined || subject === '' ? { body } : { subject, body }
  return [
    defineCommand({
      name: 'announce_send_online',
      summary: 'Sends a message to every user of a host who is online.',
      args: TEXT,
      example: "announce_send_online localhost Maintenance 'Tonight at ten.'",
      run: async args => `${await announcer.online(text(args))} users`,
    }),
    defineCommand({
      name: 'announce_send_all',
      summary: 'Sends a message to every account of a host; it waits for who is offline.',
      args: TEXT,
      run: async args => `${await announcer.all(text(args))} accounts`,
    }),
    defineCommand({
      name: 'announce_motd_get',
      summary: 'Shows the message of the day.',
      args: HOST,
      run: async () => (await announcer.motd())?.body ?? '',
    }),
    defineCommand({
      name: 'announce_motd_set_online',
      summary: 'Sets a message of the day: users who are online get it now, the others when they come.',
      args: TEXT,
      run: async args => `${await announcer.setMotd(text(args))} users have it now`,
    }),
    defineCommand({
      name: 'announce_motd_update',
      summary: 'Changes the message of the day for those who have not seen it.',
      args: TEXT,
      run: args => announcer.updateMotd(text(args)).then(() => 'changed'),
    }),
    defineCommand({
      name: 'announce_motd_delete',
      summary: 'Deletes the message of the day.',
      args: HOST,
      run: () => announcer.deleteMotd().then(() => 'deleted'),
    }),
    defineCommand({
      name: 'announce_welcome_set',
      summary: 'Sets the message that new accounts find waiting.',
      args: TEXT,
      run: args => announcer.setWelcome(text(args)).then(() => 'set'),
    }),
    defineCommand({
      name: 'announce_welcome_delete',
      summary: 'Deletes the message for new accounts.',
      args: HOST,
      run: () => announcer.setWelcome(undefined).then(() => 'deleted'),
    }),
  ]
}
