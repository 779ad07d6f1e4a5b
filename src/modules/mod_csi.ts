import { opt } from '../config/schema.ts'
import { FIRST, type HookEvent, STOP } from '../core/hooks.ts'
import { defineModule } from '../core/module.ts'
import { type Session, Slot } from '../core/session.ts'
import { childElements, type Element, findChild, findChildren, NS, xml } from '../xml/index.ts'
import type { Stanza } from '../xmpp/stanza.ts'

/** Characters held back for one client; at the bound it gets them. */
const MAX_HELD = 256 * 1024

/** What is held back for an inactive client, by what replaces it when it comes again, oldest first. */
class Held {
  readonly stanzas = new Map<string, Stanza>()
  size = 0

  put(key: string, stanza: Stanza): void {
    const old = this.stanzas.get(key)
    if (old !== undefined) {
      this.size -= old.toString().length
      this.stanzas.delete(key)
    }
    this.stanzas.set(key, stanza)
    this.size += stanza.toString().length
  }

  take(): Stanza[] {
    const all = [...this.stanzas.values()]
    this.stanzas.clear()
    this.size = 0
    return all
  }
}

/** On inactive sessions. */
const HELD = new Slot<Held>('mod_csi')

export const mod_csi = defineModule({
  name: 'mod_csi',
  xep: { number: 352, version: '1.0.0', name: 'Client State Indication' },
  summary: 'Spares the battery of phones: while nobody looks, presence, typing notifications and news of nodes wait.',
  options: {
    queue_size: opt.int(500, 'Stanzas held back for one client; one more, and it gets them all.', {
      min: 1,
      max: 10_000,
    }),
  },
  start(ctx) {
    const { hooks } = ctx.host
    const inactive = new Set<Session>()
    // Registered only while it has something to do: without handlers of this hook the server's own way is shorter.
    let unhook: (() => void) | undefined

    const flush = (session: Session, held: Held): void => {
      if (held.stanzas.size === 0) return
      // They come by again on their way out: the slot being empty lets them pass.
      session.slots.delete(HELD)
      for (const stanza of held.take()) session.deliver(stanza)
      if (inactive.has(session)) session.slots.set(HELD, held)
    }

    const receive = ({ session, stanza, entry }: HookEvent<'user_receive_packet'>): undefined | typeof STOP => {
      const held = session.slots.get(HELD)
      if (held === undefined) return
      const key = entry === undefined ? replaceKey(stanza) : undefined
      if (key === undefined) {
        flush(session, held)
        return
      }
      held.put(key, stanza)
      if (held.stanzas.size > ctx.options.queue_size || held.size > MAX_HELD) flush(session, held)
      return STOP
    }

    const activate = (session: Session): void => {
      if (!inactive.delete(session)) return
      const held = session.slots.get(HELD)
      if (held !== undefined) flush(session, held)
      session.slots.delete(HELD)
      if (inactive.size > 0) return
      unhook?.()
      unhook = undefined
    }

    const deactivate = (session: Session): void => {
      if (inactive.has(session)) return
      inactive.add(session)
      session.slots.set(HELD, new Held())
      unhook ??= hooks.add('mod_csi', 'user_receive_packet', receive, { order: FIRST })
    }

    ctx.streamFeature(() => xml('csi', { xmlns: NS.CSI }))
    ctx.nonza(NS.CSI, 'active', activate)
    ctx.nonza(NS.CSI, 'inactive', deactivate)
    ctx.hook('bind2_features', ({ features }) => void features.push(NS.CSI))
    ctx.hook('bind2_bound', ({ session, request }) => {
      if (findChild(request, 'inactive', NS.CSI) !== undefined) deactivate(session)
    })

    ctx.hook('session_resumed', ({ session }) => activate(session)) // XEP-0352 5.2
    ctx.hook('session_closed', ({ session }) => activate(session))
    // What waits becomes part of what the client is to get when it resumes after the restart.
    ctx.hook('session_suspend', ({ session }) => activate(session))
    ctx.onStop(() => {
      for (const session of [...inactive]) activate(session)
    })
  },
})

/**
 * What may wait has a key, under which a newer stanza takes its place: presence by its sender, typing notifications by
 * conversation, items of nodes (avatars, moods) by themselves. Undefined for all else.
 */
function replaceKey(stanza: Stanza): string | undefined {
  const { kind, type, from, el } = stanza
  if (kind === 'presence') {
    if (type !== 'available' && type !== 'unavailable') return undefined
    return isOwnRoomPresence(el) ? undefined : `presence ${from}`
  }
  if (kind !== 'message' || type === 'error') return undefined
  const event = type === 'headline' ? findChild(el, 'event', NS.PUBSUB_EVENT) : undefined
  if (event !== undefined) return eventKey(event, stanza)
  const message = copied(el) ?? el
  return isChatState(message) ? `state ${message.attrs['from']} ${message.attrs['to']}` : undefined
}

/** XEP-0060 7.1.2.1: items of a node, by which of them. What was read on another device is to leave the screen at once. */
function eventKey(event: Element, { from }: Stanza): string | undefined {
  const items = findChild(event, 'items', NS.PUBSUB_EVENT)
  const node = items?.attrs['node']
  if (items === undefined || node === undefined || node === NS.MDS) return undefined
  return `event ${from} ${node} ${childElements(items).map(item => item.attrs['id'])}`
}

/** XEP-0045: tells the client that it is in the room, or no longer. */
function isOwnRoomPresence(el: Element): boolean {
  const room = findChild(el, 'x', NS.MUC_USER)
  return room !== undefined && findChildren(room, 'status', NS.MUC_USER).some(status => status.attrs['code'] === '110')
}

/** XEP-0280: what another client of the user sent or received. */
function copied(el: Element): Element | undefined {
  const copy = findChild(el, 'sent', NS.CARBONS) ?? findChild(el, 'received', NS.CARBONS)
  const forwarded = copy && findChild(copy, 'forwarded', NS.FORWARD)
  return forwarded && findChild(forwarded, 'message', NS.CLIENT)
}

/** XEP-0085: nothing but a chat state, and what goes with one. */
function isChatState(message: Element): boolean {
  let state = false
  for (const child of childElements(message)) {
    const ns = child.attrs['xmlns']
    if (ns === NS.CHATSTATES) state = true
    else if (ns !== NS.HINTS && ns !== NS.SID && child.name !== 'thread') return false
  }
  return state
}
