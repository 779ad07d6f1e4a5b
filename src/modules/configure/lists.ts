import { type AdHocCommand, cannotBeDone, formStage } from '../../core/adhoc.ts'
import { Changes } from '../../core/changes.ts'
import { FIRST, STOP } from '../../core/hooks.ts'
import type { ModuleContext } from '../../core/module.ts'
import type { Store, Table } from '../../storage/store.ts'
import { cut } from '../../util/text.ts'
import { NS } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { type Administration, one } from './administration.ts'

/** Bytes of the addresses of a list: it is kept in memory, and shown as a form. */
const MAX_BYTES = 512 * 1024

/** Addresses of any form, in memory and in the store. */
export class JidList {
  readonly name: string
  readonly #store: Pick<Store, 'commit'>
  readonly #table: Table<true>
  readonly #max: number
  readonly #turns = new Changes()
  #jids: ReadonlySet<string> = new Set<string>()

  constructor(name: string, store: Pick<Store, 'commit'>, table: Table<true>, max: number) {
    this.name = name
    this.#store = store
    this.#table = table
    this.#max = max
  }

  async load(): Promise<void> {
    this.#jids = new Set((await this.#table.scan([this.name])).map(({ ck }) => String(ck[0])))
  }

  get size(): number {
    return this.#jids.size
  }

  [Symbol.iterator](): Iterator<string> {
    return this.#jids.values()
  }

  has(jid: string): boolean {
    return this.#jids.has(jid)
  }

  /** The address, or what it is part of, is in the list: full, bare, domain with resource, domain (XEP-0016 2.1). */
  matches(jid: Jid): boolean {
    return jid.isIn(this.#jids) || this.#jids.has(`${jid.domain}/${jid.resource}`)
  }

  replace(jids: readonly string[]): Promise<void> {
    return this.#change(() => jids)
  }

  add(jid: string): Promise<void> {
    return this.#change(now => [...now, jid])
  }

  remove(jid: string): Promise<void> {
    return this.#change(now => [...now].filter(other => other !== jid))
  }

  /** One change after the other; each counts when it is stored. */
  #change(next: (now: ReadonlySet<string>) => readonly string[]): Promise<void> {
    return this.#turns.run(this.name, () => this.#save(next(this.#jids)))
  }

  async #save(jids: readonly string[]): Promise<void> {
    const next = new Set(jids)
    if (next.size > this.#max) throw cannotBeDone(`the ${this.name} has at most ${this.#max} addresses`)
    if (Buffer.byteLength([...next].join('')) > MAX_BYTES) {
      throw cannotBeDone(`the addresses of the ${this.name} are too long together`)
    }
    const gone = [...this.#jids].filter(jid => !next.has(jid))
    const come = [...next].filter(jid => !this.#jids.has(jid))
    if (gone.length + come.length === 0) return
    await this.#store.commit([
      ...gone.map(jid => this.#table.delOp([this.name], [jid])),
      ...come.map(jid => this.#table.putOp([this.name], [jid], true)),
    ])
    this.#jids = next
  }
}

/** The addresses of a jid-multi field, prepared; each once. */
export function jidsOf(values: readonly string[]): string[] {
  const jids = values
    .map(text => text.trim())
    .filter(text => text !== '')
    .map(text => {
      const jid = Jid.parse(text)
      if (jid === undefined) throw cannotBeDone(`${cut(text, 100)} is no address`)
      return jid.toString()
    })
  return [...new Set(jids)]
}

interface ServiceLists {
  readonly blacklist: JidList
  readonly whitelist: JidList
}

/**
 * Whom the host deals with at all (XEP-0133 4.11, 4.12), in both directions. Who is in the blacklist is kept out; where the
 * whitelist is not empty, so is every stranger who is not in it. The host itself and its administrators always get through.
 */
export async function serviceLists(
  ctx: ModuleContext,
  table: Table<true>,
  access: string,
  max: number,
): Promise<ServiceLists> {
  const [black, white] = [new JidList('blacklist', ctx, table, max), new JidList('whitelist', ctx, table, max)]
  await black.load()
  await white.load()
  const isLocal = (jid: Jid): boolean => ctx.host.router.hosts.has(jid.domain)
  const keptOut = (jid: Jid): boolean => {
    if (black.size === 0 && white.size === 0) return false
    if (jid.domain === ctx.host.name && jid.local === '') return false
    if (!black.matches(jid) && (white.size === 0 || isLocal(jid) || white.matches(jid))) return false
    return !ctx.allowed(access, jid)
  }
  /**
   * What the server tells in the name of users and services, such as presence and news of nodes, is not told to who is kept
   * out. What clients send themselves is refused when they send it, and an answer is an answer.
   */
  const isNewsFor = ({ kind, type, from, to }: Stanza): boolean =>
    kind !== 'iq' && type !== 'error' && !from.bare.equals(to!.bare) && !from.equals(ctx.host.jid) && keptOut(to!)
  /** One's own clients see each other; what is asked from elsewhere of who is kept out is answered as it is of anybody. */
  const isFree = ({ kind, type, from, to }: Stanza): boolean => {
    if (kind === 'presence') return from.bare.equals(to!.bare)
    return from.domain === ctx.host.name && to!.domain !== from.domain && (type === 'result' || type === 'error')
  }
  ctx.hook('filter_packet', { order: FIRST, failClosed: true }, ({ stanza }) => {
    if (black.size === 0 && white.size === 0) return
    if (isFree(stanza) || (!keptOut(stanza.from) && !isNewsFor(stanza))) return
    // Nobody out there need know whom this server talks to: the answer is that of an account that does not exist.
    if (stanza.kind === 'presence' || stanza.type === 'headline') return STOP
    throw new StanzaError('service-unavailable')
  })
  ctx.hook('user_send_packet', { order: FIRST, failClosed: true }, ({ stanza }) => {
    if (stanza.to === undefined || !keptOut(stanza.to)) return
    throw new StanzaError('not-allowed', 'this server does not deal with that address')
  })
  return { blacklist: black, whitelist: white }
}

/** The nodes that edit the lists. */
export function listCommands(admin: Administration, { blacklist, whitelist }: ServiceLists): AdHocCommand[] {
  const edit = (node: string, name: string, field: string, list: JidList): AdHocCommand =>
    admin.command(node, name, () =>
      formStage(
        NS.ADMIN,
        { title: name, instructions: 'Addresses of any form: user@host, host, with or without a resource.' },
        [{ var: field, type: 'jid-multi', label: `The ${list.name}`, values: [...list] }],
        async values => {
          const jids = jidsOf(values.get(field) ?? [])
          if (jids.includes(admin.ctx.host.name)) throw cannotBeDone('that is this server itself')
          await list.replace(jids)
          return one('info', `${jids.length} addresses`)
        },
      ),
    )
  return [
    edit('edit-blacklist', 'Edit the blacklist', 'blacklistjids', blacklist),
    edit('edit-whitelist', 'Edit the whitelist', 'whitelistjids', whitelist),
  ]
}
