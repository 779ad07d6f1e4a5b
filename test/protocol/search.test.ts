import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { failed, run } from '../support/commands.ts'
import { pluck } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { refused, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const NS = 'jabber:iq:search'
const query = (content = '') => `<query xmlns='${NS}'>${content}</query>`
const LISTING = 'search-listing'

async function start(t: TestContext, options: Record<string, unknown> = {}, more = {}): Promise<TestServer> {
  return serve(t, { modules: { mod_search: options, ...more } })
}

const publish = (client: RawClient, given: string, family: string, nick = '', email = '') =>
  client.request(
    'set',
    `<vCard xmlns='vcard-temp'><N><FAMILY>${family}</FAMILY><GIVEN>${given}</GIVEN></N>` +
      `<NICKNAME>${nick}</NICKNAME><EMAIL><INTERNET/><USERID>${email}</USERID></EMAIL></vCard>`,
  )

/** A user who can be found. */
async function listed(server: TestServer, user: string, given: string, family: string): Promise<RawClient> {
  const client = await server.client(user)
  await publish(client, given, family, user, `${user}@mail.example`)
  assert.deepEqual((await run(client, LISTING, { listed: '1' })).notes, ['info: Others can find you.'])
  return client
}

const search = async (client: RawClient, content: string) =>
  (await client.request('set', query(content), 'localhost')).children[0]!.children
const jids = async (client: RawClient, content: string) =>
  (await search(client, content)).map(item => item.attrs['jid']).sort()

test('who wants to be found is found by the beginning of a name, in small letters or large', async t => {
  const server = await start(t)
  const juliet = await listed(server, 'juliet', 'Juliet', 'Capulet')
  await listed(server, 'tybalt', 'Tybalt', 'Capulet')
  await listed(server, 'romeo', 'Romeo Maria', 'Montague')
  const fields = (await juliet.request('get', query(), 'localhost')).children[0]!.children
  assert.deepEqual(pluck(fields, 'name'), ['instructions', 'first', 'last', 'nick', 'email', 'x'])
  assert.deepEqual(await jids(juliet, '<last>capu</last>'), ['juliet@localhost', 'tybalt@localhost'])
  assert.deepEqual(await jids(juliet, '<last>Capulet</last><first>T*</first>'), ['tybalt@localhost'])
  assert.deepEqual(await jids(juliet, '<first>maria</first>'), ['romeo@localhost'])
  assert.deepEqual(await jids(juliet, '<email>romeo@mail.example</email>'), ['romeo@localhost'])
  const [item] = await search(juliet, '<nick>tyb</nick>')
  assert.deepEqual(
    item!.children.map(el => [el.name, el.text]),
    [
      ['first', 'Tybalt'],
      ['last', 'Capulet'],
      ['nick', 'tybalt'],
      ['email', 'tybalt@mail.example'],
    ],
  )
  assert.deepEqual(await search(juliet, '<last>Nobody</last>'), [])
  assert.deepEqual(await search(juliet, ''), []) // everybody is not on offer
  assert.deepEqual(await search(juliet, '<last>*</last>'), [])
})

test('with a form the answer is a table', async t => {
  const server = await start(t)
  const juliet = await listed(server, 'juliet', 'Juliet', 'Capulet')
  const form = `<x xmlns='jabber:x:data' type='submit'><field var='last'><value>cap</value></field></x>`
  const x = (await search(juliet, form))[0]!
  assert.equal(x.attrs['type'], 'result')
  assert.equal(child(x, 'reported')?.children.length, 5)
  const cells = child(x, 'item')!.children.map(field => [field.attrs['var'], child(field, 'value')!.text])
  assert.deepEqual(cells[0], ['jid', 'juliet@localhost'])
  assert.deepEqual(await search(juliet, form.replace('cap', 'nobody')), [])
})

test('who did not ask to be found is not, nor who takes it back', async t => {
  const server = await start(t)
  const juliet = await server.client('juliet')
  await publish(juliet, 'Juliet', 'Capulet')
  assert.deepEqual(await jids(juliet, '<last>cap</last>'), [])
  assert.deepEqual((await run(juliet, LISTING)).values['listed'], ['0'])
  await run(juliet, LISTING, { listed: 'true' })
  assert.deepEqual((await run(juliet, LISTING)).values['listed'], ['1'])
  assert.deepEqual(await jids(juliet, '<last>cap</last>'), ['juliet@localhost'])
  await run(juliet, LISTING, { listed: '0' })
  assert.deepEqual(await jids(juliet, '<last>cap</last>'), [])
})

test('another vCard is found by what it says now', async t => {
  const server = await start(t)
  const juliet = await listed(server, 'juliet', 'Juliet', 'Capulet')
  await publish(juliet, 'Juliet', 'Montague')
  await eventually(async () => (await jids(juliet, '<last>mont</last>')).length > 0, 'her new name is found')
  assert.deepEqual(await jids(juliet, '<last>cap</last>'), [])
})

test('a vCard that is only for contacts, or none, is not searched', async t => {
  const server = await start(t, {}, { mod_vcard: { privacy: 'contacts' } })
  const juliet = await server.client('juliet')
  await publish(juliet, 'Juliet', 'Capulet')
  assert.match((await run(juliet, LISTING, { listed: '1' })).notes[0]!, /^error: /)
  assert.deepEqual(await jids(juliet, '<last>cap</last>'), [])
})

test('what a search finds, and who can be found, is bounded', async t => {
  const server = await start(t, { matches: 2, max_listed: 3 })
  for (const user of ['one', 'two', 'three']) await listed(server, user, user, 'Capulet')
  const four = await server.client('four')
  await publish(four, 'four', 'Capulet')
  await failed(run(four, LISTING, { listed: '1' }))
  assert.equal((await jids(four, '<last>cap</last>')).length, 2)
})

test('others may not search; who is gone is not found', async t => {
  const server = await serve(t, {
    hosts: ['localhost', 'other.example'],
    modules: { mod_search: { access: 'inside' } },
    config: {
      acl: { inside: { server: ['localhost'] } },
      access_rules: { inside: [{ allow: 'inside' }] },
    },
  })
  const juliet = await listed(server, 'juliet', 'Juliet', 'Capulet')
  const romeo = await server.client('romeo')
  const other = await server.client('other', { host: 'other.example' })
  await refused('forbidden', jids(other, '<last>cap</last>'))
  await refused('forbidden', other.request('get', query(), 'localhost'))
  await juliet.close()
  await server.server.host('localhost')!.removeAccount('juliet')
  assert.deepEqual(await jids(romeo, '<last>cap</last>'), [])
})

test('a user searches only so often', async t => {
  let now = Date.UTC(2026, 0, 1)
  const server = await serve(t, { now: () => now, modules: { mod_search: { max_searches: 2 } } })
  const [alice, bob] = await server.clients('alice', 'bob')
  await jids(alice, '<last>x</last>')
  await jids(alice, '<last>y</last>')
  await refused('resource-constraint', jids(alice, '<last>z</last>'))
  await jids(bob, '<last>z</last>')
  now += 60_000
  await jids(alice, '<last>z</last>')
})
