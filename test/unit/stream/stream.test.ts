import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { NO_BINDINGS } from '../../../src/net/channelbinding.ts'
import { PreLoginBudget } from '../../../src/net/prelogin.ts'
import type { Lingering, Receiver, Transport } from '../../../src/net/transport.ts'
import { documentFraming, type Framing } from '../../../src/stream/framing.ts'
import { Rounds } from '../../../src/stream/rounds.ts'
import { type PeerHeader, type StreamHandler, XmppStream } from '../../../src/stream/stream.ts'
import { type Element, NS, parseElement, StreamParser, serialize } from '../../../src/xml/index.ts'
import { StreamError } from '../../../src/xmpp/errors.ts'
import { silent } from '../core/support.ts'

const CONTENT = 'jabber:server'
const FEATURES = `<stream:features xmlns:stream='${NS.STREAM}'><ping xmlns='urn:x'/></stream:features>`

/** One end of a connection within the process: what is sent arrives piece by piece, in a later turn. */
class Pipe implements Transport {
  readonly peer = { ip: '192.0.2.1', port: 5269 }
  readonly secured = false
  readonly protocol = undefined
  readonly failure = undefined

  takePeerCertificates(): Buffer[] {
    return []
  }
  readonly backlog = 0
  readonly sent: string[] = []
  other!: Pipe
  #receiver!: Receiver
  #ended = false
  #paused = false
  #waiting: Buffer[] = []
  #gone = false

  open(receiver: Receiver): void {
    this.#receiver = receiver
  }

  send(data: string | Buffer): void {
    if (this.#ended) return
    this.sent.push(data.toString())
    setImmediate(() => this.other.#arrive(Buffer.from(data)))
  }

  #arrive(piece: Buffer): void {
    if (this.#paused) this.#waiting.push(piece)
    else this.#receiver.data(piece)
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    while (!this.#paused && this.#waiting.length > 0) this.#receiver.data(this.#waiting.shift()!)
  }

  end(): void {
    this.#ended = true
    setImmediate(() => (this.other.#ended ? this.destroy() : this.other.#receiver.end()))
  }

  destroy(): void {
    this.#ended = true
    if (this.#gone) return
    this.#gone = true
    setImmediate(() => this.#receiver.close(false))
    this.other.destroy()
  }

  bindings() {
    return NO_BINDINGS
  }

  allowHalfOpen(): void {}

  upgrade(): never {
    throw new Error('no TLS here')
  }

  linger(): Lingering {
    this.destroy()
    return { hasRead: Promise.resolve(false), hurry: () => {} }
  }
}

/** What is said at one end, and what it hears, in order. */
class End implements StreamHandler {
  readonly name: string
  readonly peerKind = 'server'
  readonly peerName = undefined
  readonly inDoubt = false
  readonly heard: string[] = []
  readonly stream: XmppStream
  readonly over = Promise.withResolvers<void>()
  /** What an element does to the end that gets it. */
  act: (el: Element) => void = () => {}

  constructor(name: string, pipe: Pipe, framing: Framing) {
    this.name = name
    const limits = { stanzaBytes: 10_000, depth: 10, attributes: 10 }
    this.stream = new XmppStream(
      pipe,
      framing,
      this,
      { ids: { random: () => 'id1' }, log: silent, rounds: new Rounds(), prelogin: new PreLoginBudget(2 ** 20) },
      {
        limits,
        preAuthLimits: { ...limits, stanzaBytes: 1000 },
        preAuthTimeout: 5000,
        preAuthBytes: 10_000,
        keepalive: Number.POSITIVE_INFINITY,
        shaper: undefined,
      },
    )
  }

  onHeader({ from, to }: PeerHeader): void {
    this.heard.push(`header from ${from} to ${to}`)
  }

  onOpen(): void {
    this.stream.send(FEATURES)
  }

  onElement(el: Element): void {
    this.heard.push(serialize(el))
    this.act(el)
  }

  onEnd(): void {
    this.heard.push('end')
  }

  onLeft(): void {}

  onDrain(): void {}

  onParted(reason: string): void {
    this.heard.push(`parted: ${reason}`)
  }

  onGone(): void {
    this.over.resolve()
  }
}

/** Frames (RFC 7395 3.3): each piece is a document of its own. */
function frameFraming(contentNs: string): Framing {
  const ns = 'urn:ietf:params:xml:ns:xmpp-framing'
  const is = (name: string, el: Element): boolean => el.name === name && el.attrs['xmlns'] === ns
  return {
    contentNs,
    version: 'required',
    headerPause: 0,
    end: `<close xmlns='${ns}'/>`,
    keepalive: undefined,
    isHeader: root => is('open', root),
    header: ({ id, from, to }) =>
      `<open xmlns='${ns}' from='${from}' version='1.0'${to ? ` to='${to}'` : ''}${id ? ` id='${id}'` : ''}/>`,
    error: error => serialize(error.toElement()).replace('<stream:error', `$& xmlns:stream='${NS.STREAM}'`),
    reader(handler, limits) {
      let begun = false
      const onElement = (el: Element): void => {
        if (is('close', el)) return handler.onClose()
        if (begun) return handler.onElement(el)
        begun = true
        handler.onOpen(el)
      }
      return new StreamParser({ ...handler, onElement }, limits, { framed: true, contentNs, defaultNs: contentNs })
    },
  }
}

function ends(framing: Framing, other = framing) {
  const [near, far] = [new Pipe(), new Pipe()]
  near.other = far
  far.other = near
  const juliet = new End('capulet.example', near, framing)
  const romeo = new End('montague.example', far, other)
  romeo.stream.accept()
  juliet.stream.initiate('montague.example')
  return { juliet, romeo, near, far, over: Promise.all([juliet.over.promise, romeo.over.promise]) }
}

const HEADERS = {
  toRomeo: 'header from capulet.example to montague.example',
  toJuliet: 'header from montague.example to capulet.example',
}

for (const [kind, framing] of [
  ['a document', documentFraming(CONTENT)],
  ['frames', frameFraming(CONTENT)],
] as const) {
  describe(`both ends of a stream of ${kind}`, () => {
    test('headers, features, a stanza each way, and who closes is answered', async () => {
      const { juliet, romeo, near, far, over } = ends(framing)
      juliet.act = el => {
        if (el.name === 'features') juliet.stream.send("<message id='1'><body>hi</body></message>")
        else juliet.stream.close()
      }
      romeo.act = () => {
        romeo.stream.admitted()
        romeo.stream.established()
        romeo.stream.send("<presence id='2'/>")
      }
      await over
      assert.deepEqual(romeo.heard, [
        HEADERS.toRomeo,
        "<message id='1'><body>hi</body></message>",
        'end',
        'parted: the connection broke',
      ])
      const [header, features, presence, ...after] = juliet.heard
      assert.deepEqual([header, presence], [HEADERS.toJuliet, "<presence id='2'/>"])
      assert.match(features!, /<ping xmlns='urn:x'\/>/)
      assert.deepEqual(after, ['parted: the connection broke'])
      for (const { sent } of [near, far]) {
        assert.equal(sent.at(-1), framing.end)
        if (kind === 'frames') for (const piece of sent) parseElement(piece)
      }
    })

    test('what an element is refused with is heard at the other end, and ends the stream', async () => {
      const { juliet, romeo, over } = ends(framing)
      juliet.act = el => {
        if (el.name === 'features') juliet.stream.send('<iq/>')
      }
      romeo.act = () => {
        throw new StreamError('not-authorized', 'who are you?')
      }
      await over
      assert.deepEqual(romeo.heard, [
        HEADERS.toRomeo,
        '<iq/>',
        'parted: not-authorized: who are you?',
        'parted: the connection broke',
      ])
      assert.match(
        juliet.heard[2]!,
        /error.*<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'\/>.*who are you/,
      )
      assert.equal(juliet.heard[3], 'end')
    })

    test('what comes before the peer is admitted is small, what comes after may be larger', async () => {
      const { juliet, romeo, over } = ends(framing)
      const large = `<message><body>${'x'.repeat(2000)}</body></message>`
      juliet.act = el => {
        if (el.name === 'features') juliet.stream.send('<message/>')
        else if (el.name === 'presence') juliet.stream.send(large)
      }
      romeo.act = el => {
        if (el.getChild('body') === undefined) {
          romeo.stream.admitted()
          romeo.stream.send('<presence/>')
        } else romeo.stream.close()
      }
      await over
      assert.equal(romeo.heard[2], large)
      const early = ends(framing)
      early.juliet.act = el => {
        if (el.name === 'features') early.juliet.stream.send(large)
      }
      await early.over
      assert.match(early.juliet.heard[2]!, /policy-violation/)
    })
  })
}

test('a stream of another content namespace is refused', async () => {
  const { romeo, far, over } = ends(documentFraming(NS.CLIENT), documentFraming(CONTENT))
  await over
  assert.equal(romeo.heard[0], `parted: invalid-namespace: the content namespace must be ${CONTENT}`)
  assert.match(far.sent[1]!, /<invalid-namespace /)
})

describe('a stream of a protocol that is older than XMPP 1.0', () => {
  const answer = async (ours: Framing['version'], theirs: Framing['version']): Promise<string> => {
    const { juliet, romeo, far, over } = ends(
      documentFraming(CONTENT, { version: theirs }),
      documentFraming(CONTENT, { version: ours }),
    )
    juliet.act = () => juliet.stream.close()
    await over
    assert.equal(romeo.stream.id, 'id1')
    assert.equal(juliet.stream.id, 'id1')
    return far.sent[0]!
  }

  test('has no version', async () => {
    assert.doesNotMatch(await answer('none', 'none'), /<stream:stream [^>]*version=/)
    assert.doesNotMatch(await answer('none', 'required'), /<stream:stream [^>]*version=/)
  })

  test('where it may, has one if the peer’s has', async () => {
    assert.doesNotMatch(await answer('optional', 'none'), /<stream:stream [^>]*version=/)
    assert.match(await answer('optional', 'required'), /<stream:stream [^>]*version=/)
  })

  test('is none of XMPP 1.0', async () => {
    const { far, over } = ends(documentFraming(CONTENT, { version: 'none' }), documentFraming(CONTENT))
    await over
    assert.match(far.sent[0]!, /<stream:stream [^>]*version=/)
    assert.match(far.sent[1]!, /<unsupported-version /)
  })
})

test('a header declares for the whole document what its stanzas need', () => {
  const framing = documentFraming(NS.SERVER, { prefixes: { db: NS.DIALBACK } })
  const header = framing.header({ id: undefined, from: 'capulet.example', to: 'montague.example', versioned: true })
  const [root, result] = parsed(framing, `${header}<db:result/>`)
  assert.deepEqual([root?.attrs['xmlns'], root?.attrs['from']], [NS.STREAM, 'capulet.example'])
  assert.ok(result?.is('result', NS.DIALBACK))
})

function parsed(framing: Framing, text: string): Element[] {
  const elements: Element[] = []
  const take = (el: Element): void => void elements.push(el)
  const handler = { onOpen: take, onElement: take, onClose() {}, onError: (error: Error) => assert.fail(error) }
  framing.reader(handler, { stanzaBytes: 1000, depth: 10, attributes: 10 }).write(Buffer.from(text))
  return elements
}
