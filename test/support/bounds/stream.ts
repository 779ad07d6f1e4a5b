import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { C2SStream } from '../../../src/c2s/stream.ts'
import { defineModule } from '../../../src/core/module.ts'
import type { SocketTransport } from '../../../src/net/transport.ts'
import { serve } from '../talk.ts'
import { eventually } from '../waiting.ts'
import type { Bounds } from './bound.ts'

/** A client sends on while the server is busy with something that it asked: so much is taken, and the rest when that is done. */
async function unparsed(t: TestContext): Promise<void> {
  const gate = Promise.withResolvers<void>()
  const slow = defineModule({
    name: 'mod_slow',
    summary: 'Takes its time.',
    options: {},
    start: ctx => ctx.iq('own', 'get', 'urn:slow', 'wait', () => gate.promise),
  })
  const server = await serve(t, { extra: [slow] })
  const alice = await server.client('alice')
  const { xmpp } = server.server.streams()[0] as C2SStream
  const { socket } = xmpp.transport as SocketTransport
  const answer = alice.request('get', "<wait xmlns='urn:slow'/>")
  const body = `<message to='nobody@localhost' type='headline'><body>${'x'.repeat(1000)}</body></message>`
  for (let n = 0; n < 2000; n++) alice.write(body)
  await eventually(() => socket.isPaused())
  assert.ok(xmpp.bytesRead < 300_000, `${xmpp.bytesRead} bytes were read`)
  gate.resolve()
  await answer
  await alice.ping()
  assert.ok(xmpp.bytesRead > 2_000_000)
}

export const BOUNDS: Bounds = {
  'bytes, depth, attributes, elements and texts of a stanza':
    'a stanza that is too big, too deep or has too many attributes ends its stream; the next one is served',
  'stanzas of a client that are handled in one go': {
    number: 'of thousands of stanzas that come in one piece a portion is handled, then others have their turn',
    bytes: 'many clients with one stanza each that is much work: who has little is answered between them',
  },
  'before login: time, bytes': {
    number: 'who does not log in and bind in time is closed, in whatever state it was left',
    bytes: 'before the login only so many bytes are taken',
  },
  'memory of a stanza’s tree': { bytes: 'before the login a stanza is small in every way, after it large enough' },
  'before login: depth, attributes, elements and texts, memory of a stanza':
    'before the login a stanza is small in every way, after it large enough',
  'memory of all connections that are not logged in, or wait for an HTTP request (16 KiB each, 64 KiB with TLS, and what they sent)':
    {
      bytes: 'all that are not logged in share one budget: the greedy go first, wherever they come from',
    },
  'connections from an address': { number: 'one address has so many connections, and gets their places back' },
  'speed of a client': {
    number: 'the number of stanzas is shaped too',
    bytes: 'a client faster than its shaper is read more slowly, and nothing of what it sends is lost',
  },
  'sessions of an account': { number: 'one session more than an account may have ends the oldest', bytes: 'each' },
  'stanzas that a client has not acknowledged': {
    number: 'what is kept for a client that is away is bounded, by number and by bytes; the rest waits in the store',
    bytes: 'a session whose client does not acknowledge what cannot wait ends at the bound',
  },
  'bytes that a client does not read': {
    bytes: 'a client that does not read gets no more than so much, and loses nothing but what cannot wait',
  },
  'unparsed bytes while a stanza is handled': { bytes: unparsed },
}
