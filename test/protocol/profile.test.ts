import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, test } from 'node:test'
import sharp from 'sharp'
import type { TableRow } from '../../src/core/commands/command.ts'
import type { Profile } from '../../src/modules/mod_profile.ts'
import { emptyFolder } from '../support/folder.ts'
import { png } from '../support/pictures.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { befriend, nothing, online, presenceFrom, serve } from '../support/talk.ts'

const server = await serve({ after })

/** As an administrator types it. */
const admin = (name: string, ...words: string[]): Promise<unknown> => server.command(name, words)

async function rows(name: string, ...words: string[]): Promise<Record<string, unknown>> {
  const found = await server.command<TableRow[]>(name, words)
  return Object.fromEntries(found.map(row => [row['field'], row['value']]))
}

async function profile(user: string): Promise<Profile> {
  const host = server.server.host('localhost')!
  return host.services.use('profile')!.get((await host.account(user))!)
}

async function vcardOf(client: RawClient, to?: string): Promise<XmlElement | undefined> {
  return child(await client.request('get', "<vCard xmlns='vcard-temp'/>", to), 'vCard', 'vcard-temp')
}

const says = (from: RawClient, status: string | undefined) => (el: XmlElement) =>
  presenceFrom(from.jid)(el) && child(el, 'status')?.text === status

test('a profile that an administrator writes is what clients read, and the other way', async () => {
  const [alice, bob] = await server.clients('alice', 'bob')
  await admin('set_profile', 'alice@localhost', JSON.stringify({ name: 'Alice', emails: ['a@x.example'], title: 'Dr' }))
  const vcard = await vcardOf(bob, 'alice@localhost')
  assert.equal(child(vcard, 'FN')?.text, 'Alice')
  assert.equal(child(child(vcard, 'EMAIL'), 'USERID')?.text, 'a@x.example')
  const items = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:vcard4'/></pubsub>"
  const answer = await bob.request('get', items, 'alice@localhost')
  const vcard4 = child(child(child(child(answer, 'pubsub'), 'items'), 'item'), 'vcard')
  assert.equal(child(child(vcard4, 'fn'), 'text')?.text, 'Alice')

  const content = '<FN>Alice L</FN><TEL><CELL/><NUMBER>+123</NUMBER></TEL><X-MOOD>merry</X-MOOD>'
  await alice.request('set', `<vCard xmlns='vcard-temp'>${content}</vCard>`)
  assert.deepEqual(await rows('get_profile', 'alice@localhost'), { name: 'Alice L', phones: '+123' })

  await admin('update_profile', 'alice@localhost', 'phones', '+123, +456')
  await admin('update_profile', 'alice@localhost', 'nickname', 'al')
  await admin('update_profile', 'alice@localhost', 'name')
  assert.deepEqual(await profile('alice'), { nickname: 'al', phones: ['+123', '+456'] })
  const after = await vcardOf(alice)
  assert.ok(child(child(after, 'TEL'), 'CELL') !== undefined, 'what it is for, it is still for')
  assert.equal(child(after, 'X-MOOD')?.text, 'merry')
  await admin('set_profile', 'alice@localhost', '{}')
  assert.deepEqual(await profile('alice'), {})
})

test('a status is shown with presence where the client says none', async () => {
  const [carol, dave] = await online(server, 'carol', 'dave')
  await befriend(carol, dave)
  await admin('update_profile', 'carol@localhost', 'status', 'on holiday')
  await dave.receive(says(carol, 'on holiday'))
  carol.send('<presence><show>away</show></presence>')
  const away = await dave.receive(el => child(el, 'show')?.text === 'away')
  assert.equal(child(away, 'status')?.text, 'on holiday')
  carol.send('<presence><status>my own words</status></presence>')
  await dave.receive(says(carol, 'my own words'))
  assert.equal((await profile('carol')).status, 'my own words')
  await admin('update_profile', 'carol@localhost', 'status', 'back')
  await nothing(dave, says(carol, 'back'), carol)
  carol.send('<presence/>')
  await dave.receive(says(carol, 'back'))
  await admin('update_profile', 'carol@localhost', 'status')
  await dave.receive(says(carol, undefined))
  assert.equal((await profile('carol')).status, undefined)
})

test('a picture: given as a file or in Base64, shown to clients, taken away', async t => {
  const folder = await emptyFolder(t)
  const file = path.join(folder, 'erin.png')
  await writeFile(file, await png(300))
  const [erin] = await online(server, 'erin')
  await admin('set_picture', 'erin@localhost', file)
  const [picture] = (await admin('get_picture', 'erin@localhost')) as TableRow[]
  assert.deepEqual([picture?.['type'], picture?.['width'], picture?.['height']], ['image/png', 300, 300])
  assert.match(String(picture?.['link']), new RegExp(`/${picture?.['hash']}\\?`))
  const [small] = (await admin('get_picture', 'erin@localhost', '90')) as TableRow[]
  assert.match(String(small?.['link']), new RegExp(`/${picture?.['hash']}\\.96\\.png\\?`))
  const [large] = (await admin('get_picture', 'erin@localhost', '97')) as TableRow[]
  assert.match(String(large?.['link']), new RegExp(`/${picture?.['hash']}\\?`))
  await erin.receive(el => child(child(el, 'x', 'vcard-temp:x:update'), 'photo')?.text === picture!['hash'])
  const vcard = await vcardOf(erin)
  assert.ok(Buffer.from(child(child(vcard, 'PHOTO'), 'BINVAL')!.text, 'base64').equals(await png(300)))
  assert.equal((await profile('erin')).picture?.hash, picture?.['hash'])
  await admin('update_profile', 'erin@localhost', 'name', 'Erin')
  assert.ok(child(await vcardOf(erin), 'PHOTO') !== undefined, 'a change of something else leaves the picture')
  await admin('set_picture', 'erin@localhost')
  await assert.rejects(admin('get_picture', 'erin@localhost'), { code: 'not_found' })
  assert.equal(child(await vcardOf(erin), 'PHOTO'), undefined)
  const base64 = (await png()).toString('base64')
  await server.command('set_picture', { account: 'erin@localhost', base64 })
  assert.equal((await profile('erin')).picture?.width, 64)
})

test('a large picture is made small enough for clients to take it inline', async () => {
  const noise = { type: 'gaussian' as const, mean: 128, sigma: 30 }
  const large = await sharp({ create: { width: 500, height: 500, channels: 3, background: 'black', noise } })
    .png()
    .toBuffer()
  assert.ok(large.length > 300_000)
  const frank = await server.client('frank')
  await server.command('set_picture', { account: 'frank@localhost', base64: large.toString('base64') })
  const { picture } = await profile('frank')
  assert.ok(picture!.size <= 128 * 1024 && picture!.width < 500)
  assert.ok(child(await vcardOf(frank), 'PHOTO') !== undefined)
})

test('what cannot be is said in words, and changes nothing', async () => {
  await server.client('gina')
  const gina = 'gina@localhost'
  await admin('update_profile', gina, 'name', 'Gina')
  const wrong: [RegExp, name: string, ...typed: string[]][] = [
    [/there is no account/, 'get_profile', 'nobody@localhost'],
    [/a JSON object/, 'set_profile', gina, '{'],
    [/a JSON object/, 'set_profile', gina, '[]'],
    [/no "colour"/, 'set_profile', gina, '{"colour": "red"}'],
    [/name: a text/, 'set_profile', gina, '{"name": 1}'],
    [/emails: a list of texts/, 'set_profile', gina, '{"emails": "a"}'],
    [/emails is a list of at most 20/, 'set_profile', gina, JSON.stringify({ emails: Array(21).fill('a') })],
    [/at most 1024/, 'update_profile', gina, 'name', 'x'.repeat(1025)],
    [/name is a text/, 'update_profile', gina, 'name', 'a\u0001b'],
    [/no PNG, JPEG/, 'set_picture', gina, path.join(import.meta.dirname, 'profile.test.ts')],
    [/cannot read/, 'set_picture', gina, '/nonexistent.png'],
    [/has no picture/, 'get_picture', gina],
  ]
  for (const [words, name, ...typed] of wrong) await assert.rejects(admin(name, ...typed), words)
  assert.deepEqual(await profile('gina'), { name: 'Gina' })
  await admin('update_profile', gina, 'name', 'x'.repeat(1024))
})

test('it goes with the account', async () => {
  const heidi = await server.client('heidi')
  await admin('update_profile', 'heidi@localhost', 'status', 'here')
  await heidi.close()
  await server.server.host('localhost')!.removeAccount('heidi')
  await server.client('heidi')
  assert.deepEqual(await profile('heidi'), {})
})

test('get_vcard, set_vcard and their like, as with ejabberd', async () => {
  const ivan = await server.client('ivan')
  await admin('set_vcard', 'ivan@localhost', 'NICKNAME', 'vanya')
  await admin('set_vcard2', 'ivan', 'localhost', 'ORG', 'ORGNAME', 'Acme & co')
  assert.equal(await admin('get_vcard', 'ivan@localhost', 'nickname'), 'vanya')
  assert.equal(await admin('get_vcard2', 'ivan@localhost', 'ORG', 'ORGNAME'), 'Acme & co')
  assert.equal(child(await vcardOf(ivan), 'NICKNAME')?.text, 'vanya')
  await admin('set_vcard', 'ivan@localhost', 'NICKNAME', '')
  await assert.rejects(admin('get_vcard', 'ivan@localhost', 'NICKNAME'), { code: 'not_found' })
  await assert.rejects(admin('get_vcard', 'ivan@localhost', '<x/>'), { code: 'usage' })
  await assert.rejects(admin('set_vcard', 'ivan@localhost', 'PHOTO', 'x'), { code: 'usage' })
  await assert.rejects(admin('set_vcard', 'ivan@localhost', 'FN', 'a\u0001b'), { name: 'CommandError' })
  await assert.rejects(admin('get_vcard', 'nobody@localhost', 'FN'), { code: 'not_found' })
})
