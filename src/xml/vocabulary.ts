import { NS } from './ns.ts'

/**
 * The words that XMPP streams are made of. A parser that meets one uses this copy: no new string is made, the engine
 * finds it as a property key at once, and it does not keep the chunk it was read from alive. The table never changes.
 */
const WORDS = `
message presence iq error body subject thread show status priority delay query item group ping bind resource session
jid stream stream:stream stream:features stream:error features starttls proceed failure success auth response challenge
abort mechanisms mechanism required optional r a enable enabled resume resumed failed sm authenticate authenticate2
initial-response continue user-agent software device inline tag active inactive composing paused gone received request
displayed markable acknowledged origin-id stanza-id occupant-id c x field value title instructions reported option set
max before after first last count index fin result forwarded sent private no-copy no-store no-permanent-store store
enable disable pubsub event items publish retract publish-options configure subscribe unsubscribe identity feature
command vCard FN N PHOTO BINVAL TYPE URL DESC photo version name os utc tzo blocklist block unblock encrypted header
key iv payload encryption reply fallback reactions reaction replace html p span a br img file-sharing sources slot
get put username password registered nick history destroy invite decline reason actor prefs always never default
to from id type xml:lang xmlns version xmlns:stream by stamp node ver hash ext var label ask subscription approved
jid affiliation role code h previd location mechanism action category queryid complete stable sid rid prekey namespace
start end for uri algo size rtp url media content-type filename xmlns:db db:result db:verify open close wait hold
http://jabber.org/protocol/nick http://jabber.org/protocol/shim http://jabber.org/protocol/xhtml-im jabber:x:oob
urn:xmpp:attention:0 urn:xmpp:eme:0 urn:xmpp:fallback:0 urn:xmpp:fasten:0 urn:xmpp:hashes:2 urn:xmpp:jingle:1
urn:xmpp:message-correct:0 urn:xmpp:message-moderate:1 urn:xmpp:reactions:0 urn:xmpp:reference:0 urn:xmpp:reply:0
urn:xmpp:sfs:0 urn:xmpp:spoiler:0 urn:xmpp:styling:0
`

const SIZE = 4096

interface Word {
  readonly word: string
  readonly bytes: Uint8Array
}

const TABLE: readonly (Word | undefined)[] = makeTable()

function makeTable(): (Word | undefined)[] {
  const table = new Array<Word | undefined>(SIZE).fill(undefined)
  for (const word of new Set([...WORDS.trim().split(/\s+/), ...Object.values(NS)])) {
    const bytes = Buffer.from(word)
    let hash = 0
    for (const byte of bytes) hash = nextHash(hash, byte)
    let slot = hash & (SIZE - 1)
    while (table[slot] !== undefined) slot = (slot + 1) & (SIZE - 1)
    table[slot] = { word, bytes }
  }
  return table
}

/** The hash of what has `hash`, with one more byte. */
export function nextHash(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte) | 0
}

/**
 * The word that these bytes are, whose hash is given: from the vocabulary, or cut out of `text`, which is the same bytes
 * with one character per byte.
 */
export function wordAt(bytes: Uint8Array, text: string, from: number, to: number, hash: number): string {
  const length = to - from
  let slot = hash & (SIZE - 1)
  for (;;) {
    const entry = TABLE[slot]
    if (entry === undefined) return text.slice(from, to)
    const known = entry.bytes
    if (known.length === length) {
      let i = 0
      while (i < length && known[i] === bytes[from + i]) i++
      if (i === length) return entry.word
    }
    slot = (slot + 1) & (SIZE - 1)
  }
}

/** As {@link wordAt}, for a caller that has not hashed the bytes on its way. */
export function word(bytes: Uint8Array, text: string, from: number, to: number): string {
  let hash = 0
  for (let i = from; i < to; i++) hash = nextHash(hash, bytes[i]!)
  return wordAt(bytes, text, from, to, hash)
}

/** Names without a prefix that need no check. */
export const PLAIN_NAMES: ReadonlySet<string> = new Set(
  WORDS.trim()
    .split(/\s+/)
    .filter(name => !name.includes(':')),
)
