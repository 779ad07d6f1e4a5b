import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { child } from '../support/rawxml.ts'
import { refused, serve } from '../support/talk.ts'

const query = (content: string) => `<query xmlns='jabber:iq:private'>${content}</query>`
const NOTE = "<note xmlns='urn:note'/>"

const server = await serve({ after }, { modules: { mod_private: { max_size: 1024, max_items: 3 } } })

test('what a client keeps, another client of the user reads', async () => {
  const [one, other] = await server.clients('alice', 'alice')
  await one.request('set', query("<note xmlns='urn:note'><to>Bob</to></note><list xmlns='urn:note'/>"))
  const answer = (await other.request('get', query(NOTE))).children[0]!
  assert.equal(answer.ns, 'jabber:iq:private')
  assert.equal(child(child(answer, 'note', 'urn:note'), 'to', 'urn:note')?.text, 'Bob')
})

test('what is not there comes back as it was asked for', async () => {
  const bob = await server.client('bob')
  const answer = (await bob.request('get', query(NOTE))).children[0]!
  assert.deepEqual(
    answer.children.map(c => [c.name, c.ns, c.children.length]),
    [['note', 'urn:note', 0]],
  )
})

test('it is nobody else’s', async () => {
  const bob = await server.client('bob')
  for (const jid of ['alice@localhost', 'nobody@localhost']) {
    await refused('forbidden', bob.request('get', query(NOTE), jid))
    await refused('forbidden', bob.request('set', query(NOTE), jid))
  }
})

test('what makes no sense is refused', async () => {
  const bob = await server.client('bob')
  await refused('not-acceptable', bob.request('set', query('')))
  await refused('not-acceptable', bob.request('set', query('<note/>')))
  await refused('bad-request', bob.request('get', query('')))
  await refused('bad-request', bob.request('get', query(NOTE + NOTE)))
  await refused('not-acceptable', bob.request('set', query(`<note xmlns='urn:${'x'.repeat(1024)}'/>`)))
})

test('pieces are bounded in size and number', async () => {
  const carol = await server.client('carol')
  const piece = (n: number, text = '') => `<p xmlns='urn:p:${n}'>${text}</p>`
  await refused('policy-violation', carol.request('set', query(piece(0, 'x'.repeat(1024)))))
  await carol.request('set', query(piece(0, 'x'.repeat(900)) + piece(1) + piece(2)))
  await refused('resource-constraint', carol.request('set', query(piece(3))))
  await refused('resource-constraint', carol.request('set', query(piece(0, 'new') + piece(3))))
  const kept = await carol.request('get', query("<p xmlns='urn:p:0'/>"))
  assert.match(kept.children[0]!.children[0]!.text, /^x+$/)
  await carol.request('set', query(piece(0, 'new'))) // one that is there may change
})

test('all pieces together have so many bytes', async t => {
  const own = await serve(t, { modules: { mod_private: { max_bytes: 2048 } } })
  const erin = await own.client('erin')
  const piece = (n: number, size: number) => `<p xmlns='urn:p:${n}'>${'x'.repeat(size)}</p>`
  await erin.request('set', query(piece(0, 900)))
  await erin.request('set', query(piece(1, 900)))
  await refused('resource-constraint', erin.request('set', query(piece(2, 300))))
  await refused('resource-constraint', erin.request('set', query(piece(1, 1200))))
  await erin.request('set', query(piece(0, 10) + piece(2, 900)))
})

test('it goes with the account', async () => {
  const dave = await server.client('dave')
  await dave.request('set', query("<note xmlns='urn:note'>x</note>"))
  await dave.close()
  await server.server.host('localhost')!.removeAccount('dave')
  const table = server.server.store.table('localhost', { name: 'private' })
  assert.deepEqual(await table.scan(['dave']), [])
})

test('many clients of a user keep no more together than one', async t => {
  const clients = await server.clients('gina', 'gina', 'gina', 'gina', 'gina', 'gina')
  const watcher = await server.client('hugo')
  const hooks = server.server.host('localhost')!.hooks
  t.after(hooks.add('test', 'private_write', async () => void (await watcher.ping()))) // the others come meanwhile
  const answers = clients.map((client, i) => client.request('set', query(`<note xmlns='urn:note:${i}'/>`)))
  const settled = await Promise.allSettled(answers)
  assert.equal(settled.filter(({ status }) => status === 'fulfilled').length, 3)
})
