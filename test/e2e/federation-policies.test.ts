/** How servers show each other who they are, and what becomes of those who cannot. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import type { ServerProcess } from '../support/launched.ts'
import { type Make, missing, type PeerOptions, PeerWorld, person } from '../support/peers/world.ts'
import type { RawClient } from '../support/rawclient.ts'
import { says } from '../support/talk.ts'
import { eventually } from '../support/waiting.ts'

const PING = "<ping xmlns='urn:xmpp:ping'/>"
const MAKES: readonly Make[] = ['hermod', 'ejabberd', 'prosody']

function say(from: RawClient, to: RawClient, body: string): void {
  from.send(`<message to='${to.jid}' type='chat' id='${body}'><body>${body}</body></message>`)
}

/** Each hears the other. `first` says who speaks first: their server opens the first stream. */
async function talk(first: RawClient, second: RawClient): Promise<void> {
  say(first, second, 'hello')
  await second.receive(says('hello'))
  say(second, first, 'well met')
  await first.receive(says('well met'))
}

function logged(server: ServerProcess, line: RegExp): Promise<unknown> {
  return eventually(async () => line.test(await readFile(server.log, 'utf8')), `${line} in the log of ${server.domain}`)
}

/** hermod, and another beside it. */
async function two(t: TestContext, make: Make, ours: PeerOptions, theirs: PeerOptions) {
  const world = await PeerWorld.start(t)
  const [hermod, other] = await Promise.all([
    world.server('hermod', 'verona.example', ours),
    world.server(make, 'mantua.example', theirs),
  ])
  return { world, hermod, other }
}

const WAYS: { readonly by: string; readonly ours: PeerOptions; readonly theirs: PeerOptions }[] = [
  { by: 'certificates', ours: { strict: true }, theirs: { strict: true } },
  {
    by: 'certificates, over direct TLS',
    ours: { strict: true, found: 'srv-tls' },
    theirs: { strict: true, found: 'srv-tls' },
  },
  {
    by: 'certificates, found by address alone',
    ours: { strict: true, found: 'address' },
    theirs: { strict: true, found: 'address' },
  },
  {
    by: 'dialback: nobody vouches for either',
    ours: { certificate: 'self-signed' },
    theirs: { certificate: 'self-signed' },
  },
  { by: 'dialback: ours has expired', ours: { certificate: 'expired' }, theirs: {} },
  { by: 'dialback: theirs is for another', ours: {}, theirs: { certificate: 'other-name' } },
]

for (const make of MAKES) {
  for (const { by, ours, theirs } of WAYS) {
    test(`hermod and ${make}, by ${by}`, async t => {
      const why = missing(make)
      if (why) return t.skip(why)
      const { hermod, other } = await two(t, make, ours, theirs)
      const [juliet, romeo] = await Promise.all([person(hermod, 'juliet'), person(other, 'romeo')])
      await talk(juliet, romeo)
      // Streams that are there already carry this; those of others are opened the other way round.
      const [nurse, friar] = await Promise.all([person(hermod, 'nurse'), person(other, 'friar')])
      await talk(friar, nurse)
      for (const client of [juliet, romeo, nurse, friar]) client.cut()
    })
  }

  test(`${make} begins, by certificates and by dialback`, async t => {
    const why = missing(make)
    if (why) return t.skip(why)
    for (const options of [{ strict: true }, { certificate: 'self-signed' }] as const) {
      await t.test(JSON.stringify(options), async sub => {
        const { hermod, other } = await two(sub, make, options, options)
        const [juliet, romeo] = await Promise.all([person(hermod, 'juliet'), person(other, 'romeo')])
        await talk(romeo, juliet)
        for (const client of [juliet, romeo]) client.cut()
      })
    }
  })
}

const BAD: {
  readonly make: Make
  readonly certificate: NonNullable<PeerOptions['certificate']>
  readonly reason: RegExp
}[] = [
  { make: 'prosody', certificate: 'self-signed', reason: /self.signed/ },
  { make: 'prosody', certificate: 'expired', reason: /expired/ },
  { make: 'prosody', certificate: 'other-name', reason: /another\.example/ },
  { make: 'ejabberd', certificate: 'self-signed', reason: /self.signed/ },
  { make: 'ejabberd', certificate: 'expired', reason: /expired/ },
  { make: 'hermod', certificate: 'other-name', reason: /another\.example/ },
]

for (const { make, certificate, reason } of BAD) {
  test(`who asks for a valid certificate does not talk with ${make}, whose is ${certificate}`, async t => {
    const why = missing(make)
    if (why) return t.skip(why)
    const { hermod, other } = await two(t, make, { strict: true }, { certificate })
    const [juliet, romeo] = await Promise.all([person(hermod, 'juliet'), person(other, 'romeo')])
    await assert.rejects(juliet.request('get', PING, other.domain), /remote-server/)
    await logged(hermod, new RegExp(`mantua\\.example[^\\n]*${reason.source}|${reason.source}[^\\n]*mantua\\.example`))
    await assert.rejects(romeo.request('get', PING, hermod.domain), /remote-server/)
    for (const client of [juliet, romeo]) client.cut()
  })
}

test('exceptions by domain, and domains that nobody may talk with', async t => {
  const why = missing('prosody')
  if (why) return t.skip(why)
  const world = await PeerWorld.start(t)
  const hermod = await world.server('hermod', 'verona.example', {
    sets: [
      'acl.shunned={server: [shunned.example]}',
      'access_rules.federation=[{deny: shunned}, {allow: all}]',
      's2s.access=federation',
      's2s.policy=require_valid_certificate',
      's2s.domains={known.example: {policy: required}}',
    ],
  })
  const options = { certificate: 'self-signed' } as const
  const known = await world.server('prosody', 'known.example', options)
  const shunned = await world.server('prosody', 'shunned.example')
  const [juliet, romeo, tybalt] = await Promise.all([
    person(hermod, 'juliet'),
    person(known, 'romeo'),
    person(shunned, 'tybalt'),
  ])
  await talk(romeo, juliet)
  await assert.rejects(juliet.request('get', PING, shunned.domain), /not-allowed|forbidden|remote-server/)
  await assert.rejects(tybalt.request('get', PING, hermod.domain), /not-allowed|forbidden|remote-server/)
  for (const client of [juliet, romeo, tybalt]) client.cut()
})
