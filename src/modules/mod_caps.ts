import { opt } from '../config/schema.ts'
import { defineModule, type ModuleContext } from '../core/module.ts'
import { Weighed } from '../util/weighed.ts'
import { childElements, type Element, findChild, findChildren, NS, serialize, xml } from '../xml/index.ts'
import { isVerifiable, verificationString } from '../xmpp/caps.ts'
import type { Stanza } from '../xmpp/stanza.ts'

/** What clients can do, for other modules. */
interface CapsService {
  /**
   * What the sender of this presence can do, by the hash in it (XEP-0115). At once where the hash is known; else whoever sent
   * it is asked. Undefined where it tells nothing or does not answer. The same hash gives the same set.
   */
  features(presence: Stanza): Features | undefined | Promise<Features | undefined>
}

export type Features = ReadonlySet<string>

declare module '../core/services.ts' {
  interface ServiceMap {
    caps: CapsService
  }
}

/** Ms that a client has to say what it can do. */
const TIMEOUT = 20_000
/** Features that are read of one answer, and characters of all of them. */
const MAX_FEATURES = 500
const MAX_TEXT = 16 * 1024
/** Characters of all that are remembered. */
const MAX_KNOWN = 8 * 1024 * 1024
/** Hashes that are being asked for at a time, of all and of the clients of one account. */
const MAX_ASKED = 10_000
const MAX_OF_ONE = 30

const options = {
  node: opt.text('urn:hermod:server', 'The URI that names the software; clients cache by it.', { maxLength: 256 }),
  cache_size: opt.int(2000, 'Kinds of client whose abilities are remembered.', { min: 10, max: 1_000_000 }),
}

export const mod_caps = defineModule({
  name: 'mod_caps',
  xep: {
    number: 115,
    version: '1.6.0',
    name: 'Entity Capabilities',
    partial: 'An answer that says something twice, which is ill-formed, is taken where its hash fits.',
  },
  summary: 'Tells clients at login, in one hash, what the server can do, and learns by their hashes what they can do.',
  options,
  start(ctx) {
    const { node } = ctx.options
    ctx.feature(NS.CAPS)

    let cached: { query: Element; ver: string } | undefined
    const current = (): { query: Element; ver: string } | undefined => {
      const query = ctx.use('disco')?.info('server')
      if (query === undefined) return undefined
      if (cached?.query !== query) cached = { query, ver: verificationString(query) }
      return cached
    }

    // XEP-0115 6.3; as a hook because there is nothing to offer while no module answers disco.
    ctx.hook('stream_features', event => {
      const ver = event.authenticated ? current()?.ver : undefined
      if (ver !== undefined) event.features.push(xml('c', { xmlns: NS.CAPS, hash: 'sha-1', node, ver }))
    })

    ctx.hook('disco_info', event => {
      if (event.scope !== 'server' || !event.node.startsWith(`${node}#`)) return
      const now = current()
      if (now !== undefined && event.node === `${node}#${now.ver}`) event.answer = childElements(now.query)
    })

    ctx.provide('caps', knowledge(ctx))
  },
})

function knowledge(ctx: ModuleContext<typeof options>): CapsService {
  /** By hash, verified: nobody can say for others what they can do (XEP-0115 9). */
  const known = new Weighed<string, Features>(ctx.options.cache_size, MAX_KNOWN)
  const asked = new Map<string, Promise<Features | undefined>>()
  let asking = 0
  /** By bare address: whoever names one hash after the other and never answers takes nobody's place. */
  const askingOf = new Map<string, number>()

  /** `hash` undefined: one that cannot be verified, so that its answer counts for nobody else. */
  const ask = async (
    presence: Stanza,
    node: string,
    ver: string,
    hash: string | undefined,
  ): Promise<Features | undefined> => {
    const who = presence.from.bare.toString()
    const count = askingOf.get(who) ?? 0
    if (asking >= MAX_ASKED || count >= MAX_OF_ONE) return undefined
    asking++
    askingOf.set(who, count + 1)
    try {
      return await answerOf(presence, node, ver, hash)
    } finally {
      asking--
      const left = askingOf.get(who)! - 1
      if (left > 0) askingOf.set(who, left)
      else askingOf.delete(who)
    }
  }

  const answerOf = async (
    presence: Stanza,
    node: string,
    ver: string,
    hash: string | undefined,
  ): Promise<Features | undefined> => {
    const query = xml('query', { xmlns: NS.DISCO_INFO, node: `${node}#${ver}` })
    const answer = await ctx.request(presence.from, 'get', query, TIMEOUT)
    const info = answer?.type === 'result' ? findChild(answer.el, 'query', NS.DISCO_INFO) : undefined
    if (info === undefined) return undefined
    const { features, text, complete } = featuresOf(info)
    // XEP-0115 5.4: what does not fit its hash counts for who said it, and is not remembered; nor is what is too long to keep.
    // Nor is what holds the character that parts the string: two different answers could have the same hash.
    const fits = hash !== undefined && complete && verificationString(info, hash) === ver
    if (fits && !serialize(info).includes('&lt;')) known.set(`${hash} ${ver}`, features, text)
    return features
  }

  /** One client of a kind is asked for all of them; where it does not answer well, the next one is. */
  const learn = async (presence: Stanza, node: string, ver: string, hash: string): Promise<Features | undefined> => {
    const key = `${hash} ${ver}`
    for (;;) {
      const there = known.get(key)
      if (there !== undefined) return there
      const other = asked.get(key)
      if (other === undefined) break
      await other
    }
    const mine = ask(presence, node, ver, hash).finally(() => asked.delete(key))
    asked.set(key, mine)
    return mine
  }

  return {
    features(presence) {
      const c = findChild(presence.el, 'c', NS.CAPS)
      const { node = '', ver } = c?.attrs ?? {}
      const hash = c?.attrs['hash']?.toLowerCase()
      // Without a hash it is the old form, whose word nobody can check (XEP-0115 11).
      if (ver === undefined || hash === undefined || ver.length > 256 || node.length > 1024) return undefined
      if (!isVerifiable(hash)) return ask(presence, node, ver, undefined)
      return known.get(`${hash} ${ver}`) ?? learn(presence, node, ver, hash)
    },
  }
}

/** `text` is how many characters they have; `complete`: none is left out. */
function featuresOf(info: Element): { features: Features; text: number; complete: boolean } {
  const features = new Set<string>()
  let text = 0
  for (const { attrs } of findChildren(info, 'feature', NS.DISCO_INFO)) {
    const feature = attrs['var']
    if (feature === undefined || features.has(feature)) continue
    if (features.size >= MAX_FEATURES || text + feature.length > MAX_TEXT) return { features, text, complete: false }
    features.add(feature)
    text += feature.length
  }
  return { features, text, complete: true }
}
