import type { Account } from '../../core/account.ts'
import { Changes } from '../../core/changes.ts'
import type { HookEvent } from '../../core/hooks.ts'
import type { ModuleContext } from '../../core/module.ts'
import { Slot } from '../../core/session.ts'
import type { Table } from '../../storage/store.ts'
import { childElements, type Element, elementNs, NS, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import * as forms from './forms.ts'
import type { Images } from './images.ts'
import { type Picture, type Pictures, sha1 } from './pictures.ts'
import { tellAgain } from './presence.ts'

declare module '../../core/services.ts' {
  interface ServiceMap {
    avatar: AvatarService
  }
}

/** The pictures of accounts, for other modules. */
export interface AvatarService {
  /** Undefined where the account has none. The link is to the smallest size that has `side` pixels; by default to the picture. */
  get(account: Account, side?: number): Promise<Avatar | undefined>
  /** Rejects with StoreError where the picture cannot be read now. */
  read(account: Account): Promise<{ type: string; bytes: Buffer } | undefined>
  /** Takes a picture of any size as the account's own. Rejects with StanzaError `not-acceptable` for what is none. */
  set(account: Account, bytes: Buffer): Promise<Avatar>
  remove(account: Account): Promise<void>
}

export interface Avatar {
  /** SHA-1, in hex. */
  hash: string
  type: string
  width: number
  height: number
  /** Bytes. */
  size: number
  /** Where it can be had by HTTP: for an hour, or longer. */
  link: string
}

type Ctx = ModuleContext<Record<never, never>>

/** `[user]`: the picture that an account shows. */
export interface Shown {
  /** SHA-1; empty where the user had a picture and took it away. */
  hash: string
  /** How it came: what came with a vCard goes with it, too. */
  via: 'pep' | 'vcard'
}

export const SHOWN = new Slot<Shown>('avatar')
/** The picture of the vCard4 that is being published. */
const COMING = new Slot<Picture>('avatar of a vCard4')
/** Somebody who is nobody's contact. */
const STRANGER = Jid.of('', 'stranger.invalid')
const LINK_TTL = 3_600_000
/** Bytes that a client can be expected to take inline. */
const MAX_INLINE = 128 * 1024

/** One picture an account, whichever way it came: PEP, vcard-temp, vCard4, or the server's administrator. */
export class Avatars implements AvatarService {
  readonly #ctx: Ctx
  readonly #changes = new Changes()
  readonly #pictures: Pictures
  readonly #images: Images
  readonly #table: Table<Shown>
  /** Of vCards (vcard-temp) that are about to be stored: the picture that came with them. */
  readonly #coming = new WeakMap<Element, Picture | 'none'>()

  constructor(ctx: Ctx, pictures: Pictures, images: Images, table: Table<Shown>) {
    this.#ctx = ctx
    this.#pictures = pictures
    this.#images = images
    this.#table = table
  }

  /** SHA-1 of what the account shows: empty where it had a picture and took it away, undefined where it never had one. */
  hash(account: Account): string | undefined {
    return account.slots.get(SHOWN)?.hash
  }

  /** Whether everybody may see the picture. */
  async isOpen(account: Account): Promise<boolean> {
    if (account.slots.get(SHOWN)?.via === 'vcard') return this.#ctx.use('vcard')?.isPublic !== false
    return this.#mayRead(account, STRANGER)
  }

  // ---- the service

  async get(account: Account, side?: number): Promise<Avatar | undefined> {
    const picture = await this.#picture(account)
    if (picture === undefined) return undefined
    const { sides: _, ...about } = picture
    return { ...about, link: await this.#pictures.link(account.user, picture, LINK_TTL, side) }
  }

  async read(account: Account): Promise<{ type: string; bytes: Buffer } | undefined> {
    const picture = await this.#picture(account)
    const bytes = picture && (await this.#pictures.read(account.user, picture.hash))
    return bytes && { type: picture!.type, bytes }
  }

  async set(account: Account, bytes: Buffer): Promise<Avatar> {
    const image = await this.#images.shrink(await this.#images.check(bytes), MAX_INLINE)
    const picture = await this.#waiting(() => this.#pictures.keep(account.user, image))
    await this.#inOrder(account, () => this.#show(account, picture, 'pep'))
    return (await this.get(account))!
  }

  async remove(account: Account): Promise<void> {
    await this.#inOrder(account, async () => {
      if (account.slots.get(SHOWN)?.hash) await this.#hide(account, 'pep')
    })
  }

  /** Deletes the pictures of the host that nothing refers to any more. */
  sweep(): Promise<void> {
    return this.#pictures.sweep()
  }

  // ---- PEP (XEP-0084, XEP-0398 3)

  /** A picture goes into the store, and what stands for it into the item. */
  async publishing(event: HookEvent<'pep_publish'>): Promise<void> {
    const { account, node, payload } = event
    if (node === NS.AVATAR_DATA) {
      const isData = payload.name === 'data' && elementNs(payload) === NS.AVATAR_DATA
      const text = isData ? forms.onlyText(payload) : undefined
      if (text === undefined) throw new StanzaError('bad-request', 'the picture is the text of <data/>')
      const bytes = forms.bytesIn(text)
      if (/^[0-9a-f]{40}$/i.test(event.id) && event.id.toLowerCase() !== sha1(bytes)) {
        throw new StanzaError('not-acceptable', 'the item of a picture has its SHA-1 for an id')
      }
      const { hash } = await this.#waiting(() => this.#pictures.store(account.user, bytes))
      event.payload = forms.dataElement(forms.reference(hash))
      event.id = hash
    } else if (node === NS.AVATAR_METADATA) {
      await this.#correct(event)
    } else if (node === NS.VCARD4_NODE) {
      const bytes = forms.photoOf4(payload)
      event.payload = forms.withoutPhoto4(payload)
      account.slots.delete(COMING)
      if (bytes === undefined) return
      account.slots.set(COMING, await this.#waiting(() => this.#pictures.store(account.user, bytes)))
    }
  }

  /** Metadata says of our pictures what is so, also where one had to be made anew. */
  async #correct(event: HookEvent<'pep_publish'>): Promise<void> {
    const { account, payload } = event
    const infos = forms.infosIn(payload)
    const ours = new Map<Element, Picture>()
    for (const info of infos.slice(0, 10)) {
      const picture = await this.#waiting(() => this.#pictures.find(account.user, info.attrs['id'] ?? ''))
      if (picture !== undefined) ours.set(info, picture)
    }
    const [first] = ours.values()
    if (first === undefined) return
    const metadata = xml('metadata', { xmlns: NS.AVATAR_METADATA })
    for (const child of childElements(payload)) {
      const picture = ours.get(child)
      metadata.children.push(picture === undefined ? child : forms.infoElement(picture))
    }
    event.payload = metadata
    event.id = first.hash
  }

  async published(account: Account, node: string, payload: Element): Promise<void> {
    if (node === NS.VCARD4_NODE) {
      const picture = account.slots.get(COMING)
      account.slots.delete(COMING)
      return this.#came(account, picture)
    }
    if (node === NS.AVATAR_METADATA) await this.#inOrder(account, () => this.#told(account, payload))
  }

  async #told(account: Account, metadata: Element): Promise<void> {
    if (forms.isNone(metadata)) return this.#shows(account, '', 'pep')
    for (const info of forms.infosIn(metadata)) {
      const picture = await this.#pictures.find(account.user, info.attrs['id'] ?? '')
      if (picture !== undefined) return this.#shows(account, picture.hash, 'pep')
    }
  }

  async retracted(account: Account, node: string): Promise<void> {
    if (node === NS.AVATAR_DATA) return this.#pictures.release(account.user)
    if (node !== NS.AVATAR_METADATA) return
    await this.#inOrder(account, async () => {
      const [left] = (await this.#ctx.use('pep')?.items(account, node)) ?? []
      if (left === undefined) await this.#shows(account, '', 'pep')
    })
  }

  /** What leaves the server has its bytes in it. */
  async reading(event: HookEvent<'pep_read'>): Promise<void> {
    const { account, node, items } = event
    if (node === NS.VCARD4_NODE) {
      if (!this.hash(account) || items.length === 0 || !(await this.isOpen(account))) return
      const picture = await this.#waiting(() => this.read(account))
      if (picture === undefined) return
      for (const item of items) item.payload = forms.withPhoto4(item.payload, picture.type, picture.bytes)
    }
    if (node !== NS.AVATAR_DATA) return
    for (const item of items) {
      const hash = forms.referenceIn(item.payload)
      if (hash === undefined) continue
      const bytes = await this.#waiting(() => this.#pictures.read(account.user, hash))
      if (bytes === undefined) throw new StanzaError('item-not-found', 'the picture is gone')
      item.payload = forms.dataElement(bytes)
    }
  }

  // ---- vcard-temp (XEP-0054, XEP-0153)

  async vcardSet(event: HookEvent<'vcard_set'>): Promise<void> {
    const { account, vcard, asked } = event
    event.vcard = forms.withoutPhoto(vcard)
    if (!asked) return
    const photo = forms.photoOf(vcard)
    if (Buffer.isBuffer(photo)) {
      this.#coming.set(event.vcard, await this.#waiting(() => this.#pictures.store(account.user, photo)))
    } else if (photo === 'none' || (photo === undefined && account.slots.get(SHOWN)?.via === 'vcard')) {
      // A client that knows of PEP alone does not name the picture in a vCard: what came by PEP stays.
      this.#coming.set(event.vcard, 'none')
    }
  }

  async vcardStored({ account, vcard }: HookEvent<'vcard_stored'>): Promise<void> {
    await this.#came(account, this.#coming.get(vcard))
  }

  async vcardGet(event: HookEvent<'vcard_get'>): Promise<void> {
    const { account, asker } = event
    const shown = account.slots.get(SHOWN)
    if (shown === undefined || shown.hash === '') return
    if (shown.via === 'pep' && !(await this.#mayRead(account, asker))) return
    const picture = await this.#waiting(() => this.read(account))
    if (picture !== undefined) event.vcard = forms.withPhoto(event.vcard, picture.type, picture.bytes)
  }

  /** A vCard is stored with which a picture came. */
  async #came(account: Account, picture: Picture | 'none' | undefined): Promise<void> {
    if (picture === undefined) return
    await this.#inOrder(account, async () => {
      const hash = account.slots.get(SHOWN)?.hash ?? ''
      if (picture === 'none') {
        if (hash !== '') await this.#hide(account, 'vcard')
      } else if (picture.hash !== hash) await this.#show(account, picture, 'vcard')
    })
  }

  // ---- the one picture

  /** One change of an account after the other: the last one that was asked for is what stays. */
  #inOrder(account: Account, change: () => Promise<void>): Promise<void> {
    return this.#changes.run(account.user, change)
  }

  async #show(account: Account, picture: Picture, via: Shown['via']): Promise<void> {
    await this.#shows(account, picture.hash, via)
    const pep = this.#ctx.use('pep')
    if (pep === undefined) return
    const access_model = via === 'vcard' && this.#ctx.use('vcard')?.isPublic === false ? 'presence' : 'open'
    const { hash } = picture
    // XEP-0084 3.2: whoever is told of a picture finds it.
    await pep.publish(account, NS.AVATAR_DATA, hash, forms.dataElement(forms.reference(hash)), { access_model })
    await pep.publish(account, NS.AVATAR_METADATA, hash, forms.metadataElement(picture), { access_model })
  }

  async #hide(account: Account, via: Shown['via']): Promise<void> {
    await this.#shows(account, '', via)
    const pep = this.#ctx.use('pep')
    if (pep === undefined || (await pep.items(account, NS.AVATAR_METADATA)).length === 0) return
    const none = xml('metadata', { xmlns: NS.AVATAR_METADATA })
    await pep.publish(account, NS.AVATAR_METADATA, account.host.ids.random(), none)
    // What the user took away is not to be had any more.
    for (const { id } of await pep.items(account, NS.AVATAR_DATA)) await pep.retract(account, NS.AVATAR_DATA, id, true)
  }

  /** Notes what the account shows, and tells who sees its presence. */
  async #shows(account: Account, hash: string, via: Shown['via']): Promise<void> {
    const before = account.slots.get(SHOWN)
    if ((before?.hash ?? '') === hash) return
    if (!(await account.host.users.exists(account.user))) return
    const row: Shown = { hash, via }
    const ops = [this.#table.putOp([account.user], [], row)]
    if (before !== undefined && before.hash !== '') ops.push(await this.#pictures.mark(account.user))
    await this.#ctx.commit(ops)
    account.slots.set(SHOWN, row)
    tellAgain(account, hash)
  }

  async #picture(account: Account): Promise<Picture | undefined> {
    const hash = account.slots.get(SHOWN)?.hash ?? ''
    return hash === '' ? undefined : this.#pictures.find(account.user, hash)
  }

  /** XEP-0398 7: only who may read both nodes sees the picture elsewhere. */
  async #mayRead(account: Account, asker: Jid): Promise<boolean> {
    if (asker.bare.equals(account.jid)) return true
    const pep = this.#ctx.use('pep')
    if (pep === undefined) return this.#ctx.use('vcard')?.isPublic !== false
    for (const node of [NS.AVATAR_DATA, NS.AVATAR_METADATA]) {
      if (!(await pep.mayRead(account, node, asker))) return false
    }
    return true
  }

  /** What of a user's pictures is in use. */
  async references(user: string): Promise<ReadonlySet<string>> {
    const account = await this.#ctx.account(user)
    if (account === undefined) return new Set()
    const hashes = new Set<string>()
    const row = await this.#table.get([user], [])
    if (row !== undefined) hashes.add(row.hash)
    for (const { payload } of (await this.#ctx.use('pep')?.items(account, NS.AVATAR_DATA)) ?? []) {
      const hash = forms.referenceIn(payload)
      if (hash !== undefined) hashes.add(hash)
    }
    return hashes
  }

  /** A blob store that is away is no fault of who asks: they may try again. */
  async #waiting<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'StoreError') throw error
      this.#ctx.log.warn({ err: error }, 'a picture could not be stored or read')
      throw new StanzaError('resource-constraint', 'pictures cannot be stored or read now; try again later')
    }
  }
}
