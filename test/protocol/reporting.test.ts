import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { attrs, pluck } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { nothing, online, refused, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const REASON = 'urn:xmpp:reporting:'

async function start(t: TestContext, options: Record<string, unknown> = {}): Promise<[TestServer, RawClient]> {
  const server = await serve(t, { modules: { mod_reporting: options } })
  return [server, await server.client('alice')]
}

const block = (client: RawClient, jid: string, report = '') =>
  client.request('set', `<block xmlns='urn:xmpp:blocking'><item jid='${jid}'>${report}</item></block>`)
const report = (reason: string, content = '') =>
  `<report xmlns='urn:xmpp:reporting:1' reason='${REASON}${reason}'>${content}</report>`

type Row = Record<string, string>
const command = (server: TestServer, name: string, args: Record<string, unknown> = {}) =>
  server.command(name, { host: 'localhost', ...args })
const reports = (server: TestServer) => server.command<Row[]>('abuse_reports', { host: 'localhost' })

/** Reports are kept behind the answer to the block. */
function kept(server: TestServer, count: number): Promise<Row[]> {
  return eventually(async () => {
    const rows = await reports(server)
    return rows.length >= count ? rows : undefined
  }, `${count} reports`)
}

test('a block with a report blocks, and the report is kept for administrators', async t => {
  const [server, alice] = await start(t)
  const info = await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", 'localhost')
  assert.ok(info.children[0]!.children.some(el => el.attrs['var'] === 'urn:xmpp:reporting:1'))
  await block(
    alice,
    'spammer@bad.example',
    report('spam', '<text xml:lang="en"> Never came trouble to my house like this. </text><report-origin/>'),
  )
  const list = await alice.request('get', "<blocklist xmlns='urn:xmpp:blocking'/>")
  assert.deepEqual(attrs(list.children[0]!.children, 'jid'), ['spammer@bad.example'])
  const [row] = await kept(server, 1)
  assert.deepEqual(
    [row!['reporter'], row!['jid'], row!['reason'], row!['text'], row!['share']],
    ['alice@localhost', 'spammer@bad.example', 'spam', 'Never came trouble to my house like this.', ['report-origin']],
  )
  await command(server, 'delete_abuse_report', { id: row!['id'] })
  assert.deepEqual(await reports(server), [])
  await assert.rejects(async () => command(server, 'delete_abuse_report', { id: row!['id'] }), { code: 'not_found' })
})

test('a block without a report, or whose report gives no reason, just blocks', async t => {
  const [server, alice] = await start(t)
  await block(alice, 'one@bad.example')
  await block(alice, 'two@bad.example', "<report xmlns='urn:xmpp:reporting:1'/>")
  await block(alice, 'three@bad.example', report('abuse'))
  const rows = await kept(server, 1)
  assert.deepEqual(pluck(rows, 'jid'), ['three@bad.example'])
})

test('a block that is refused reports nothing', async t => {
  const server = await serve(t, { modules: { mod_blocking: { max_items: 1 } } })
  const alice = await server.client('alice')
  await block(alice, 'one@bad.example', report('spam'))
  await refused('not-allowed', block(alice, 'two@bad.example', report('spam')))
  await kept(server, 1)
  await alice.ping()
  assert.equal((await reports(server)).length, 1)
})

test('messages that are pointed at are shown, if they are the reported one’s', async t => {
  const [server, alice] = await start(t)
  const host = server.server.host('localhost')!
  const stored = (id: string, from: string) =>
    host.archive.put(
      ['alice'],
      [id],
      Buffer.from(`<message from='${from}' to='alice@localhost'><body>${id}</body></message>`),
    )
  await stored('theirs', 'spammer@bad.example/x')
  await stored('private', 'bob@localhost/y')
  const ids = ['theirs', 'private', 'none'].map(
    id => `<stanza-id xmlns='urn:xmpp:sid:0' by='alice@localhost' id='${id}'/>`,
  )
  const foreign = "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='theirs'/>"
  await block(alice, 'spammer@bad.example', report('spam', ids.join('') + foreign))
  const [row] = await kept(server, 1)
  assert.match([row!['messages']].join(), /^<message [^>]*><body>theirs<\/body><\/message>$/)
})

test('reports are bounded: in all, of one user a day, and in length', async t => {
  const [server, alice] = await start(t, { max_reports: 3, max_user_reports: 2 })
  const bob = await server.client('bob')
  await block(alice, 'one@bad.example', report('spam', `<text>${'x'.repeat(5000)}</text>`))
  const [first] = await kept(server, 1)
  assert.equal(first!['text']!.length, 2000)
  for (const user of ['two', 'three']) await block(alice, `${user}@bad.example`, report('spam'))
  await kept(server, 2)
  for (const user of ['four', 'five']) await block(bob, `${user}@bad.example`, report('spam'))
  await eventually(async () => {
    const rows = await reports(server)
    return rows[0]?.['jid'] === 'five@bad.example' && rows.length <= 3
  }, 'the last report')
  assert.deepEqual(
    (await reports(server)).map(row => row['jid']),
    ['five@bad.example', 'four@bad.example', 'two@bad.example'], // three was one too many, one gave way
  )
})

test('whoever watches is told; reports go with the account of who made them', async t => {
  const [server, alice] = await start(t, { report_watchers: ['admin@localhost'] })
  const [admin] = await online(server, 'admin')
  await block(alice, 'spammer@bad.example', report('abuse', '<text>Insults</text>'))
  await admin.receive(says('alice@localhost reports spammer@bad.example for abuse: Insults'))
  await nothing(admin, says('alice@localhost reports spammer@bad.example for abuse: Insults'))
  await alice.close()
  await server.server.host('localhost')!.removeAccount('alice')
  assert.deepEqual(await reports(server), [])
})
