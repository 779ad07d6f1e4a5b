import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { after, before, type TestContext, test } from 'node:test'
import sharp from 'sharp'
import type { BlobStore } from '../../src/storage/blob.ts'
import { openMemoryBlobs } from '../../src/storage/blob-memory.ts'
import { StoreError } from '../../src/storage/store.ts'
import { faultyStore } from '../support/faultystore.ts'
import { png } from '../support/pictures.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, bare, befriend, nothing, online, presenceFrom, refused, serve } from '../support/talk.ts'
import { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const DATA = 'urn:xmpp:avatar:data'
const METADATA = 'urn:xmpp:avatar:metadata'
const UPDATE = 'vcard-temp:x:update'
const PUBSUB = 'http://jabber.org/protocol/pubsub'

let server: TestServer
let blobs: BlobStore

before(async () => {
  blobs = openMemoryBlobs()
  server = await TestServer.start({ blobs })
})
after(() => server.stop())

let seed = 0

/** Another picture each time, if nothing else is said. */
const picture = (side = 64, colour = ++seed): Promise<Buffer> =>
  png(side, { r: (colour * 37) % 256, g: (colour * 101) % 256, b: 90 })

const sha1 = (bytes: Buffer) => createHash('sha1').update(bytes).digest('hex')

function options(access: string): string {
  const field = (name: string, value: string) => `<field var='${name}'><value>${value}</value></field>`
  return `<publish-options><x xmlns='jabber:x:data' type='submit'>${field('FORM_TYPE', `${PUBSUB}#publish-options`)}${field('pubsub#access_model', access)}</x></publish-options>`
}

function publish(client: RawClient, node: string, id: string, payload: string, access = 'open'): Promise<XmlElement> {
  const item = `<publish node='${node}'><item id='${id}'>${payload}</item></publish>`
  return client.request('set', `<pubsub xmlns='${PUBSUB}'>${item}${options(access)}</pubsub>`)
}

async function publishData(client: RawClient, bytes: Buffer, access?: string): Promise<XmlElement> {
  return publish(client, DATA, sha1(bytes), `<data xmlns='${DATA}'>${bytes.toString('base64')}</data>`, access)
}

/** As a client does it: the data, then what tells of it (XEP-0084 3). */
async function publishAvatar(client: RawClient, bytes: Buffer, access?: string): Promise<string> {
  await publishData(client, bytes, access)
  const info = `<info bytes='${bytes.length}' id='${sha1(bytes)}' type='image/png' width='64' height='64'/>`
  await publish(client, METADATA, sha1(bytes), `<metadata xmlns='${METADATA}'>${info}</metadata>`, access)
  return sha1(bytes)
}

async function items(client: RawClient, node: string, to?: string): Promise<XmlElement[]> {
  const answer = await client.request('get', `<pubsub xmlns='${PUBSUB}'><items node='${node}'/></pubsub>`, to)
  return child(child(answer, 'pubsub', PUBSUB), 'items', PUBSUB)!.children
}

async function dataOf(client: RawClient, to?: string): Promise<Buffer> {
  const [item] = await items(client, DATA, to)
  return Buffer.from(child(item, 'data', DATA)!.text, 'base64')
}

async function photoOf(client: RawClient, to?: string): Promise<{ type: string; bytes: Buffer } | undefined> {
  const vcard = child(await client.request('get', "<vCard xmlns='vcard-temp'/>", to), 'vCard', 'vcard-temp')
  const photo = child(vcard, 'PHOTO', 'vcard-temp')
  if (photo === undefined) return undefined
  return { type: child(photo, 'TYPE')!.text, bytes: Buffer.from(child(photo, 'BINVAL')!.text, 'base64') }
}

function setVCard(client: RawClient, content: string): Promise<XmlElement> {
  return client.request('set', `<vCard xmlns='vcard-temp'>${content}</vCard>`)
}

const photo = (bytes: Buffer, type = 'image/png') =>
  `<PHOTO><TYPE>${type}</TYPE><BINVAL>${bytes.toString('base64')}</BINVAL></PHOTO>`

/** Presence of an available client that tells of this picture; '' is none. */
function showing(from: RawClient, hash: string) {
  return (el: XmlElement) => presenceFrom(from.jid)(el) && child(child(el, 'x', UPDATE), 'photo', UPDATE)?.text === hash
}

async function keys(user?: string): Promise<string[]> {
  const all = (await blobs.list('avatars/localhost/')).map(entry => entry.key)
  if (user === undefined) return all
  const folder = createHash('sha256').update(user).digest('hex').slice(0, 40)
  return all.filter(key => key.includes(folder))
}

test('a picture published by PEP: contacts get the very bytes, and it is the photo of the vCard', async () => {
  const [alice, bob] = await server.clients('alice', 'bob')
  const bytes = await picture()
  const hash = await publishAvatar(alice, bytes)
  assert.ok((await dataOf(bob, 'alice@localhost')).equals(bytes))
  const [item] = await items(bob, METADATA, 'alice@localhost')
  assert.equal(item?.attrs['id'], hash)
  assert.equal(child(child(item, 'metadata', METADATA), 'info', METADATA)?.attrs['bytes'], String(bytes.length))
  const shown = await photoOf(bob, 'alice@localhost')
  assert.equal(shown?.type, 'image/png')
  assert.ok(shown.bytes.equals(bytes))
  assert.ok((await photoOf(alice))?.bytes.equals(bytes))
})

test('the account says that it converts', async () => {
  const alice = await server.client('alice')
  const answer = await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", 'alice@localhost')
  const features = answer.children[0]!.children.map(el => el.attrs['var'])
  assert.ok(features.includes('urn:xmpp:pep-vcard-conversion:0'))
})

test('a photo set in a vCard: it is published by PEP, and contacts are told', async () => {
  const [carol, dave] = await server.clients('carol', 'dave')
  const bytes = await picture()
  await available(carol)
  await available(dave)
  await befriend(carol, dave)
  await setVCard(carol, `<FN>Carol</FN>${photo(bytes)}`)
  await dave.receive(showing(carol, sha1(bytes)))
  assert.ok((await dataOf(dave, 'carol@localhost')).equals(bytes))
  const [item] = await items(dave, METADATA, 'carol@localhost')
  const info = child(child(item, 'metadata', METADATA), 'info', METADATA)
  assert.deepEqual(info?.attrs, {
    bytes: String(bytes.length),
    height: '64',
    id: sha1(bytes),
    type: 'image/png',
    width: '64',
  })
  assert.ok((await photoOf(dave, 'carol@localhost'))?.bytes.equals(bytes))
})

test('presence tells of the picture, unless the client says that it shows none', async () => {
  const [erin, frank] = await online(server, 'erin', 'frank')
  await befriend(erin, frank)
  const hash = await publishAvatar(erin, await picture())
  await frank.receive(showing(erin, hash))
  erin.send('<presence><show>away</show></presence>')
  assert.ok(showing(erin, hash)(await frank.receive(el => child(el, 'show')?.text === 'away')))
  erin.send(`<presence><show>dnd</show><x xmlns='${UPDATE}'/></presence>`)
  assert.ok(showing(erin, hash)(await frank.receive(el => child(el, 'show')?.text === 'dnd')))
  erin.send(`<presence><show>xa</show><x xmlns='${UPDATE}'><photo>${'0'.repeat(40)}</photo></x></presence>`)
  assert.ok(showing(erin, hash)(await frank.receive(el => child(el, 'show')?.text === 'xa')))
  erin.send(`<presence><show>chat</show><x xmlns='${UPDATE}'><photo/></x></presence>`)
  assert.ok(showing(erin, '')(await frank.receive(el => child(el, 'show')?.text === 'chat')))
  // And it goes on to show none when the picture changes.
  await publishAvatar(erin, await picture())
  await nothing(frank, presenceFrom(erin.jid), erin)
})

test('presence of who never had a picture is left as it is', async () => {
  const [gina] = await online(server, 'gina')
  gina.send('<presence><show>away</show></presence>')
  const echo = await gina.receive(el => child(el, 'show')?.text === 'away')
  assert.equal(child(echo, 'x', UPDATE), undefined)
})

test('presence sent to somebody tells of it where everybody may see it, and not where only contacts may', async () => {
  const [heidi, ivan] = await server.clients('heidi', 'ivan')
  await available(ivan)
  await available(heidi)
  const hash = await publishAvatar(heidi, await picture(), 'open')
  await heidi.receive(showing(heidi, hash))
  heidi.send(`<presence to='${ivan.jid}'/>`)
  assert.ok(showing(heidi, hash)(await ivan.receive(presenceFrom(heidi.jid))))

  const [judy] = await online(server, 'judy')
  const secret = await publishAvatar(judy, await picture(), 'presence')
  await judy.receive(showing(judy, secret))
  judy.send(`<presence to='${ivan.jid}'/>`)
  assert.equal(child(await ivan.receive(presenceFrom(judy.jid)), 'x', UPDATE), undefined)
  await refused('service-unavailable', ivan.request('get', "<vCard xmlns='vcard-temp'/>", bare(judy)))
  assert.equal((await photoOf(judy))?.type, 'image/png')
  await befriend(judy, ivan)
  assert.ok((await photoOf(ivan, bare(judy))) !== undefined)
})

test('presence to strangers tells no more of a picture that is not for everybody any more', async () => {
  const [lena, ivan] = await online(server, 'lena', 'ivan')
  const hash = await publishAvatar(lena, await picture(), 'open')
  await lena.receive(showing(lena, hash))
  const fields = `<field var='FORM_TYPE'><value>${PUBSUB}#node_config</value></field><field var='pubsub#access_model'><value>whitelist</value></field>`
  const form = `<x xmlns='jabber:x:data' type='submit'>${fields}</x>`
  const closed = `<pubsub xmlns='${PUBSUB}#owner'><configure node='${DATA}'>${form}</configure></pubsub>`
  await lena.request('set', closed)
  lena.send(`<presence to='${ivan.jid}'/>`)
  assert.equal(child(await ivan.receive(presenceFrom(lena.jid)), 'x', UPDATE), undefined)
  await refused('service-unavailable', ivan.request('get', "<vCard xmlns='vcard-temp'/>", bare(lena)))
})

test('without PEP there is the vCard', async t => {
  const own = await serve(t, { modules: { mod_pubsub: false } })
  const [mona, ned] = await own.clients('mona', 'ned')
  await available(mona)
  const bytes = await picture()
  await setVCard(mona, photo(bytes))
  await mona.receive(showing(mona, sha1(bytes)))
  assert.ok((await photoOf(ned, bare(mona)))?.bytes.equals(bytes))
  await setVCard(mona, '<PHOTO/>')
  await mona.receive(showing(mona, ''))
})

test('the picture is taken away: by PEP, by a vCard, and each way contacts are told', async () => {
  const [kim, lee] = await online(server, 'kim', 'lee')
  await befriend(kim, lee)
  const take = [
    () => publish(kim, METADATA, 'none', `<metadata xmlns='${METADATA}'/>`),
    () => setVCard(kim, '<FN>Kim</FN><PHOTO><TYPE>image/png</TYPE><BINVAL/></PHOTO>'),
    () => setVCard(kim, '<FN>Kim</FN><PHOTO/>'),
    () => kim.request('set', `<pubsub xmlns='${PUBSUB}#owner'><delete node='${METADATA}'/></pubsub>`),
  ]
  for (const away of take) {
    const hash = await publishAvatar(kim, await picture())
    await lee.receive(showing(kim, hash))
    await away()
    await lee.receive(showing(kim, ''))
    const vcard = await kim.request('get', "<vCard xmlns='vcard-temp'/>").catch(() => undefined)
    assert.equal(child(child(vcard, 'vCard'), 'PHOTO'), undefined)
  }
})

test('a vCard without a photo takes away what came with a vCard, and leaves what came by PEP', async () => {
  const [mia] = await online(server, 'mia')
  const first = await picture()
  await setVCard(mia, photo(first))
  await mia.receive(showing(mia, sha1(first)))
  await setVCard(mia, '<FN>Mia</FN>')
  await mia.receive(showing(mia, ''))
  const hash = await publishAvatar(mia, await picture())
  await mia.receive(showing(mia, hash))
  await setVCard(mia, '<FN>Mia B</FN>')
  await nothing(mia, showing(mia, ''))
  assert.equal(sha1((await photoOf(mia))!.bytes), hash)
})

test('what is no picture, or not what it says, is refused', async () => {
  const nora = await server.client('nora')
  const bytes = await picture()
  const data = (text: string) => `<data xmlns='${DATA}'>${text}</data>`
  const base64 = bytes.toString('base64')
  await refused('not-acceptable', publish(nora, DATA, '0'.repeat(40), data(base64)))
  await refused('bad-request', publish(nora, DATA, sha1(bytes), data('<x/>')))
  await refused('bad-request', publish(nora, DATA, sha1(bytes), data('%%%%')))
  await refused('bad-request', publish(nora, DATA, 'x', data("<blob xmlns='urn:hermod:blob' hash='x'/>")))
  const cut = bytes.subarray(0, bytes.length - 20)
  await refused('not-acceptable', publish(nora, DATA, sha1(cut), data(cut.toString('base64'))))
  const svg = Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'/>")
  await refused('not-acceptable', publish(nora, DATA, sha1(svg), data(svg.toString('base64'))))
  await refused('not-acceptable', setVCard(nora, photo(svg, 'image/svg+xml')))
  await refused('bad-request', setVCard(nora, '<PHOTO><BINVAL>?</BINVAL></PHOTO>'))
  assert.deepEqual(await keys('nora'), [])
})

test('nobody gets at another’s picture by a reference of the store’s own', async () => {
  const oscar = await server.client('oscar')
  const hash = await publishAvatar(oscar, await picture())
  const pat = await server.client('pat')
  const fake = `<PHOTO><blob xmlns='urn:hermod:blob' hash='${hash}'/></PHOTO>`
  await setVCard(pat, `<FN>Pat</FN>${fake}`)
  assert.equal(await photoOf(pat), undefined)
})

test('a picture with metadata in it is published without; what tells of it is put right', async () => {
  const quinn = await server.client('quinn')
  const bytes = await sharp(await picture())
    .withExif({ IFD0: { Copyright: 'at home' } })
    .jpeg()
    .toBuffer()
  await publishAvatar(quinn, bytes)
  const clean = await dataOf(quinn)
  assert.ok(bytes.includes('at home') && !clean.includes('at home'))
  const [data] = await items(quinn, DATA)
  const [item] = await items(quinn, METADATA)
  assert.equal(data?.attrs['id'], sha1(clean))
  assert.equal(item?.attrs['id'], sha1(clean))
  const info = child(child(item, 'metadata', METADATA), 'info', METADATA)
  assert.equal(info?.attrs['id'], sha1(clean))
  assert.equal(info?.attrs['bytes'], String(clean.length))
  assert.equal(info?.attrs['type'], 'image/jpeg')
})

test('the photo of a vCard4 is the same picture', async () => {
  const [rita, sam] = await server.clients('rita', 'sam')
  await available(rita)
  const bytes = await picture()
  const uri = `data:image/png;base64,${bytes.toString('base64')}`
  const vcard = `<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><fn><text>Rita</text></fn><photo><uri>${uri}</uri></photo></vcard>`
  await publish(rita, 'urn:xmpp:vcard4', 'current', vcard)
  await rita.receive(showing(rita, sha1(bytes)))
  assert.ok((await photoOf(sam, 'rita@localhost'))?.bytes.equals(bytes))
  const [item] = await items(sam, 'urn:xmpp:vcard4', 'rita@localhost')
  assert.equal(child(child(child(item, 'vcard'), 'photo'), 'uri')?.text, uri)
})

test('one picture is stored once, whichever ways it comes, with its smaller sizes', async () => {
  const tom = await server.client('tom')
  const bytes = await picture(200)
  const hash = await publishAvatar(tom, bytes)
  await setVCard(tom, photo(bytes))
  await publishAvatar(tom, bytes)
  const names = (await keys('tom')).map(key => key.split('/').at(-1))
  assert.deepEqual(names, [hash, `${hash}.96.png`, `${hash}.96.webp`])
})

test('after a restart, presence tells of the picture again', async t => {
  const { store } = faultyStore()
  const kept = openMemoryBlobs()
  const first = await serve(t, { store, blobs: kept })
  const uma = await first.client('uma')
  const hash = await publishAvatar(uma, await picture())
  await available(uma)
  await first.stop()
  const second = await serve(t, { store, blobs: kept })
  const again = await second.client('uma')
  again.send('<presence/>')
  await again.receive(showing(again, hash))
  assert.equal(sha1((await photoOf(again))!.bytes), hash)
})

/** A server with a clock of its own, whose pictures are swept when it is said. */
async function sweeping(t: TestContext) {
  const own = openMemoryBlobs()
  let ahead = 0
  const sweeper = await serve(t, {
    blobs: own,
    now: () => Date.now() + ahead,
    modules: { mod_avatar: { keep: '1h' } },
  })
  const list = async () => (await own.list('')).map(entry => entry.key.split('/').at(-1))
  const sweep = async (ms: number) => {
    ahead += ms
    await sweeper.command('sweep_pictures', { host: 'localhost' })
  }
  return { server: sweeper, list, sweep }
}

test('pictures that nothing refers to any more go after a while; what is in use stays', async t => {
  const { server: own, list, sweep } = await sweeping(t)
  const vera = await own.client('vera')
  const old = await publishAvatar(vera, await picture())
  const current = await publishAvatar(vera, await picture())
  // Sent, and never told of.
  const lost = await picture()
  await publishData(vera, lost)
  await sweep(60_000)
  assert.deepEqual((await list()).sort(), [old, current, sha1(lost)].sort())
  await sweep(3_600_000)
  assert.deepEqual((await list()).sort(), [current, sha1(lost)].sort())
  assert.equal(sha1((await photoOf(vera))!.bytes), current)
  await setVCard(vera, '<PHOTO/>')
  await vera.ping()
  await sweep(3_600_001)
  assert.deepEqual(await list(), [])
})

test('pictures go with the account', async t => {
  const { server: own, list } = await sweeping(t)
  const [will, xena] = await own.clients('will', 'xena')
  await publishAvatar(will, await picture(200))
  const stays = await publishAvatar(xena, await picture())
  assert.equal((await list()).length, 4)
  await will.close()
  await own.server.host('localhost')!.removeAccount('will')
  assert.deepEqual(await list(), [stays])
  const again = await own.client('will')
  await refused('item-not-found', again.request('get', "<vCard xmlns='vcard-temp'/>"))
})

test('a blob store that fails: clients are told to come later, nothing is lost, and it works when it is back', async t => {
  const inner = openMemoryBlobs()
  let away = false
  const fail = (): undefined => {
    if (away) throw new StoreError('the S3 server is away')
  }
  const failing: BlobStore = {
    ...inner,
    put: async (...args) => fail() ?? inner.put(...args),
    get: async key => fail() ?? inner.get(key),
    list: async (...args) => fail() ?? inner.list(...args),
  }
  const own = await serve(t, { blobs: failing })
  const [yann, zoe] = await online(own, 'yann', 'zoe')
  await befriend(yann, zoe)
  const first = await picture()
  await publishAvatar(yann, first)
  await yann.receive(showing(yann, sha1(first)))
  away = true
  const second = await picture()
  await refused('resource-constraint', publishData(yann, second))
  await refused('resource-constraint', setVCard(yann, `<FN>Yann</FN>${photo(second)}`))
  await refused('resource-constraint', dataOf(zoe, 'yann@localhost'))
  await refused('resource-constraint', photoOf(zoe, 'yann@localhost'))
  assert.equal((await items(zoe, METADATA, 'yann@localhost'))[0]?.attrs['id'], sha1(first))
  away = false
  assert.ok((await dataOf(zoe, 'yann@localhost')).equals(first))
  await publishAvatar(yann, second)
  await yann.receive(showing(yann, sha1(second)))
  assert.ok((await photoOf(zoe, 'yann@localhost'))?.bytes.equals(second))
  // An account that goes while the pictures cannot be deleted.
  await own.register('adam')
  const adam = await own.client('adam')
  const third = await picture()
  await publishAvatar(adam, third)
  await adam.close()
  away = true
  await own.server.host('localhost')!.removeAccount('adam')
  away = false
  await own.command('sweep_pictures', { host: 'localhost' })
  assert.ok(!(await inner.list('')).some(entry => entry.key.includes(sha1(third))))
})

test('at most 20 pictures in a short time', async () => {
  const max = await server.client('max')
  for (let i = 0; i < 20; i++) await publishData(max, await picture(16))
  await refused('resource-constraint', publishData(max, await picture(16)))
})

test('who has published a picture finds it in the vCard and in presence, and who took it away does not', async t => {
  const { store, troubles } = faultyStore({ only: 'avatar' })
  const slow = await serve(t, { store })
  const [una] = await online(slow, 'una')
  const pubsub = (content: string, ns = PUBSUB) => una.request('set', `<pubsub xmlns='${ns}'>${content}</pubsub>`)
  /** The answer comes when the picture is what all others see. */
  const other = await slow.client('vera')
  const waits = async (start: () => Promise<unknown>): Promise<void> => {
    const before = troubles.writes.calls
    troubles.writes.close()
    let answered = false
    const change = start()
    void change.then(() => {
      answered = true
    })
    await eventually(() => troubles.writes.calls > before, 'the write')
    for (let i = 0; i < 10; i++) await other.ping()
    assert.equal(answered, false)
    troubles.writes.open()
    await change
  }
  const bytes = await picture()
  await waits(() => publishAvatar(una, bytes))
  assert.deepEqual((await photoOf(una))?.bytes, bytes)
  const desk = await slow.client('una')
  desk.send('<presence/>')
  const shown = await desk.receive(presenceFrom(una.jid))
  assert.equal(child(child(shown, 'x', UPDATE), 'photo')?.text, sha1(bytes))
  await waits(() => pubsub(`<retract node='${METADATA}'><item id='${sha1(bytes)}'/></retract>`))
  await refused('item-not-found', photoOf(una))
  await publishAvatar(una, bytes)
  await waits(() => pubsub(`<purge node='${METADATA}'/>`, `${PUBSUB}#owner`))
  await refused('item-not-found', photoOf(una))
})

test('an element of another namespace is no picture of a vCard', async () => {
  const zed = await server.client('zed')
  await setVCard(zed, "<FN>Zed</FN><PHOTO xmlns='urn:x'>mine</PHOTO>")
  const vcard = child(await zed.request('get', "<vCard xmlns='vcard-temp'/>"), 'vCard', 'vcard-temp')
  assert.equal(child(vcard, 'PHOTO', 'urn:x')?.text, 'mine')
})

test('pictures that are refused count: so many are looked at in a minute', async t => {
  let now = Date.now()
  const own = await serve(t, { now: () => now })
  const [wim, xena] = await own.clients('wim', 'xena')
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>')
  for (let i = 0; i < 30; i++) await refused('not-acceptable', publishData(wim, svg))
  await refused('resource-constraint', publishData(wim, await picture()))
  await publishData(xena, await picture())
  now += 60_000
  // What was refused takes the place of no picture.
  await publishAvatar(wim, await picture())
  assert.equal((await items(wim, DATA)).length, 1)
})

test('an item that its node does not take leaves no picture behind', async t => {
  const blobs = openMemoryBlobs()
  const own = await serve(t, { blobs })
  const yan = await own.client('yan')
  const type = `<field var='FORM_TYPE'><value>${PUBSUB}#node_config</value></field><field var='pubsub#type'><value>urn:x</value></field>`
  await yan.request(
    'set',
    `<pubsub xmlns='${PUBSUB}'><create node='${DATA}'/><configure><x xmlns='jabber:x:data' type='submit'>${type}</x></configure></pubsub>`,
  )
  await refused('bad-request', publishData(yan, await picture(), 'presence'))
  assert.deepEqual(await blobs.list(''), [])
})

test('of many large pictures at a node, one answer has what fits', async t => {
  const own = await serve(t)
  const ida = await own.client('ida')
  const noise = (size: number) =>
    sharp(randomBytes(size * size * 3), { raw: { width: size, height: size, channels: 3 } })
      .png()
      .toBuffer()
  const configure = `<field var='FORM_TYPE'><value>${PUBSUB}#node_config</value></field><field var='pubsub#max_items'><value>max</value></field><field var='pubsub#access_model'><value>open</value></field>`
  await ida.request(
    'set',
    `<pubsub xmlns='${PUBSUB}'><create node='${DATA}'/><configure><x xmlns='jabber:x:data' type='submit'>${configure}</x></configure></pubsub>`,
  )
  for (let i = 0; i < 8; i++) await publishData(ida, await noise(240))
  const stranger = await own.client('joe')
  const answer = await stranger.request(
    'get',
    `<pubsub xmlns='${PUBSUB}'><items node='${DATA}'/></pubsub>`,
    'ida@localhost',
  )
  const list = child(child(answer, 'pubsub', PUBSUB), 'items', PUBSUB)!.children
  assert.ok(list.length >= 3 && list.length < 6, `${list.length} pictures`)
  assert.equal(child(child(answer.children[0], 'set'), 'count')?.text, '8')
})
