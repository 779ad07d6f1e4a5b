/**
 * Two people with two devices each, of two client families: messages, pictures and read marks, and what a device that was
 * away catches up with. Once with pictures on the disk, once in the bucket of a real S3 server.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { xml } from '@xmpp/client'
import { S3Server } from '../../scripts/s3.ts'
import { Bot, type El } from '../support/bot.ts'
import { Device, slixmpp } from '../support/device.ts'
import { emptyFolder } from '../support/folder.ts'
import { png } from '../support/pictures.ts'
import { RawClient } from '../support/rawclient.ts'
import { hermodProcess } from '../support/serverprocess.ts'

process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0' // the server makes a self-signed certificate

const DOMAIN = 'devices.example'
const ALICE = `alice@${DOMAIN}`
const BOB = `bob@${DOMAIN}`
const PUBSUB = 'http://jabber.org/protocol/pubsub'

const sha1 = (bytes: Buffer): string => createHash('sha1').update(bytes).digest('hex')

const picture = (red: number): Promise<Buffer> => png(64, { r: red, g: 100, b: 90 })

async function archive(bot: Bot): Promise<(string | null)[]> {
  const bodies: (string | null)[] = []
  const listen = (el: El): void => {
    const message = el.getChild('result', 'urn:xmpp:mam:2')?.getChild('forwarded')?.getChild('message')
    if (message !== undefined) bodies.push(message.getChildText('body'))
  }
  bot.xmpp.on('stanza', listen)
  await bot.ask('set', xml('query', { xmlns: 'urn:xmpp:mam:2' }))
  return bodies
}

async function state(bot: Bot, id: string): Promise<string | undefined> {
  const payload = xml('states', { xmlns: 'urn:hermod:message-states:0', with: BOB }, xml('message', { id }))
  const answer = await bot.ask('get', payload)
  return answer.getChild('states')!.getChild('message')!.attrs['state']
}

function publish(node: string, id: string, payload: unknown) {
  return xml('pubsub', { xmlns: PUBSUB }, xml('publish', { node }, xml('item', { id }, payload)))
}

function items(node: string) {
  return xml('pubsub', { xmlns: PUBSUB }, xml('items', { node }))
}

async function publishAvatar(bot: Bot, bytes: Buffer): Promise<void> {
  const data = xml('data', { xmlns: 'urn:xmpp:avatar:data' }, bytes.toString('base64'))
  await bot.ask('set', publish('urn:xmpp:avatar:data', sha1(bytes), data))
  const info = { id: sha1(bytes), bytes: String(bytes.length), type: 'image/png' }
  const metadata = xml('metadata', { xmlns: 'urn:xmpp:avatar:metadata' }, xml('info', info))
  await bot.ask('set', publish('urn:xmpp:avatar:metadata', sha1(bytes), metadata))
}

async function photoOf(bot: Bot, jid: string): Promise<string> {
  const answer = await bot.ask('get', xml('vCard', { xmlns: 'vcard-temp' }), jid)
  const binval = answer.getChild('vCard')?.getChild('PHOTO')?.getChildText('BINVAL') ?? ''
  return sha1(Buffer.from(binval, 'base64'))
}

async function story(t: TestContext, python: string, folder: string, blobs: string[], kept: () => Promise<number>) {
  const server = await hermodProcess({ folder, domain: DOMAIN, sets: blobs })
  await server.start()
  const bots: Bot[] = []
  const devices: Device[] = []
  t.after(async () => {
    for (const device of devices) device.stop()
    for (const bot of bots) await bot.xmpp.stop()
    await server.stop()
  })
  for (const user of ['alice', 'bob']) {
    await RawClient.register({ host: '127.0.0.1', port: server.port, domain: DOMAIN }, user, 'secret')
  }
  const alice = async (resource: string): Promise<Bot> => {
    const bot = new Bot(server, 'alice', resource)
    bots.push(bot)
    return bot.start()
  }
  const authority = path.join(folder, 'data/selfsigned.crt')
  const bob = async (resource: string): Promise<Device> => {
    const options = { python, port: server.port, jid: `${BOB}/${resource}`, password: 'secret', authority }
    const device = await Device.start(options)
    devices.push(device)
    return device
  }

  const phone = await alice('phone')
  const desk = await bob('desk')
  await phone.send('subscribe', 'presence', { to: BOB })
  await phone.receive(el => el.is('presence') && el.attrs['type'] === 'subscribed') // slixmpp says yes, and asks back
  await phone.receive(el => el.is('presence') && el.attrs['type'] === 'subscribe')
  await phone.send('subscribed', 'presence', { to: BOB })

  // Messages both ways; the second devices are away.
  await phone.say('bob', 'shall we?')
  const { id } = await desk.message('shall we?')
  await desk.do('say', { to: ALICE, body: 'we shall' })
  await phone.hears('we shall')
  await phone.say('bob', 'at noon')
  const last = await desk.message('at noon')

  // Read marks.
  await desk.do('displayed', { to: ALICE, id: last.id })
  await phone.receive(el => el.getChild('displayed', 'urn:xmpp:chat-markers:0') !== undefined)
  assert.equal(await state(phone, id!), 'read')
  const seen = phone.got.find(el => el.getChildText('body') === 'we shall')!.getChild('stanza-id')!.attrs['id']!
  const sid = xml('stanza-id', { xmlns: 'urn:xmpp:sid:0', by: ALICE, id: seen })
  await phone.ask(
    'set',
    publish('urn:xmpp:mds:displayed:0', BOB, xml('displayed', { xmlns: 'urn:xmpp:mds:displayed:0' }, sid)),
  )

  // Pictures, published one way and read another.
  const [hers, his] = [await picture(200), await picture(20)]
  await publishAvatar(phone, hers)
  const file = path.join(folder, 'his.png')
  await writeFile(file, his)
  await desk.do('publish_avatar', { path: file })
  assert.deepEqual(await desk.do('avatar', { jid: ALICE }), [sha1(hers), sha1(hers)])
  assert.equal(await desk.do('photo', { jid: ALICE }), sha1(hers))
  assert.equal(await photoOf(phone, BOB), sha1(his))
  assert.ok((await kept()) >= 2, 'both pictures lie where they belong')

  // A file: one uploads it, the link is all that the other needs.
  const link = String(await desk.do('upload', { path: file }))
  await desk.do('say', { to: ALICE, body: link })
  await phone.hears(link)
  const got = await fetch(link)
  assert.equal(got.headers.get('content-type'), 'image/png')
  assert.deepEqual(Buffer.from(await got.arrayBuffer()), his)

  // The second devices come, and catch up.
  const all = ['shall we?', 'we shall', 'at noon', link]
  const laptop = await alice('laptop')
  assert.deepEqual((await archive(laptop)).filter(Boolean), all)
  const marks = (await laptop.ask('get', items('urn:xmpp:mds:displayed:0'))).getChild('pubsub')!.getChild('items')!
  assert.equal(marks.getChild('item')!.attrs['id'], BOB)
  const pocket = await bob('pocket')
  assert.deepEqual(((await pocket.do('archive')) as string[]).filter(Boolean), all)
  assert.deepEqual(await pocket.do('avatar', { jid: ALICE }), [sha1(hers), sha1(hers)])

  // After kill -9 it is all still there.
  for (const device of devices.splice(0)) device.stop()
  for (const bot of bots.splice(0)) await bot.xmpp.stop()
  await server.kill()
  await server.start()
  const again = await alice('phone')
  assert.deepEqual((await archive(again)).filter(Boolean), all)
  assert.equal(await photoOf(again, BOB), sha1(his))
  assert.equal(await state(again, id!), 'read')
}

async function here(t: TestContext, _prefix: string): Promise<string> {
  const folder = await emptyFolder(t)
  return folder
}

test('two people with two devices each; pictures on the disk', async t => {
  const found = await slixmpp()
  if ('missing' in found) return t.skip(found.missing)
  const folder = await here(t, 'hermod-devices-')
  const files = async (): Promise<number> => {
    const names = await readdir(path.join(folder, 'data/blobs'), { recursive: true, withFileTypes: true })
    return names.filter(entry => entry.isFile()).length
  }
  await story(t, found.python, folder, [], files)
})

test('two people with two devices each; pictures in a bucket', async t => {
  const found = await slixmpp()
  if ('missing' in found) return t.skip(found.missing)
  const folder = await here(t, 'hermod-bucket-')
  const s3 = await S3Server.start(path.join(folder, 's3')).catch((error: unknown) => String(error))
  if (typeof s3 === 'string') return t.skip(`no S3 server can be had: ${s3.slice(0, 200)}`)
  t.after(() => s3.stop())
  const sets = [
    'blobs.driver=s3',
    `blobs.s3.endpoint=${s3.endpoint}`,
    'blobs.s3.bucket=pictures',
    `blobs.s3.region=${s3.region}`,
    `blobs.s3.access_key=${s3.accessKey}`,
    `blobs.s3.secret_key=${s3.secretKey}`,
  ]
  const { Client } = await import('minio')
  const { hostname, port } = new URL(s3.endpoint)
  const bucket = new Client({
    endPoint: hostname,
    port: Number(port),
    useSSL: false,
    accessKey: s3.accessKey,
    secretKey: s3.secretKey,
    region: s3.region,
  })
  const objects = async (): Promise<number> => (await bucket.listObjectsV2('pictures', '', true).toArray()).length
  await story(t, found.python, folder, sets, objects)
})
