/**
 * People of hermod, ejabberd, Prosody and a second hermod, who have each other as friends: every pair of servers, each story
 * in both directions.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, test } from 'node:test'
import type { ServerProcess } from '../support/launched.ts'
import { login, type Make, missing, PeerWorld, person } from '../support/peers/world.ts'
import { png } from '../support/pictures.ts'
import { ITEMS, interest, publish, publishes } from '../support/publishing.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { bare, befriend, presenceFrom, says } from '../support/talk.ts'

const MAKES = { hermod: 'hermod', second: 'hermod', ejabberd: 'ejabberd', prosody: 'prosody' } as const
type Name = keyof typeof MAKES
const PAIRS: [Name, Name][] = [
  ['hermod', 'second'],
  ['hermod', 'ejabberd'],
  ['hermod', 'prosody'],
  ['ejabberd', 'prosody'],
]

const here = (Object.keys(MAKES) as Name[]).filter(name => !missing(MAKES[name]))
const servers = new Map<Name, ServerProcess>()
if (here.length > 0) {
  const world = await PeerWorld.start({ after })
  const started = here.map(async name => {
    servers.set(name, await world.server(MAKES[name], `${name}.example`, { strict: true }))
  })
  await Promise.all(started)
}

let people = 0

/** One user on either server, who see each other where they are friends. */
async function couple(one: ServerProcess, other: ServerProcess, are: 'friends' | 'strangers'): Promise<RawClient[]> {
  const number = ++people
  const both = await Promise.all([person(one, `juliet${number}`), person(other, `romeo${number}`)])
  if (are === 'friends') await befriend(...both)
  return both
}

interface Story {
  readonly name: string
  tell(one: ServerProcess, other: ServerProcess): Promise<void>
}

const STORIES: readonly Story[] = [
  {
    name: 'one befriends the other, and follows their presence until it ends',
    async tell(one, other) {
      const [juliet, romeo] = (await couple(one, other, 'friends')) as [RawClient, RawClient]
      romeo.send('<presence><show>away</show><status>in Mantua</status></presence>')
      const away = await juliet.receive(el => presenceFrom(romeo.jid)(el) && child(el, 'show') !== undefined)
      assert.deepEqual([child(away, 'show')?.text, child(away, 'status')?.text], ['away', 'in Mantua'])
      await romeo.close()
      await juliet.receive(presenceFrom(romeo.jid, 'unavailable'))
      // Who comes back is told who is there, and is seen.
      const again = await login(other, bare(romeo).split('@')[0]!, 'road')
      await again.receive(presenceFrom(juliet.jid))
      await juliet.receive(presenceFrom(again.jid))
      // No friends any more: each is told.
      juliet.send(`<presence to='${bare(romeo)}' type='unsubscribed'/>`)
      await again.receive(presenceFrom(bare(juliet), 'unsubscribed'))
      juliet.send(`<presence to='${bare(romeo)}' type='unsubscribe'/>`)
      await again.receive(presenceFrom(bare(juliet), 'unsubscribe'))
      await leave(juliet, again)
    },
  },
  {
    name: 'who is asked while away is asked when they come',
    async tell(one, other) {
      const [juliet, romeo] = (await couple(one, other, 'strangers')) as [RawClient, RawClient]
      await romeo.close()
      juliet.send(`<presence to='${bare(romeo)}' type='subscribe'/>`)
      juliet.send(chat(romeo, 'are you there?'))
      await juliet.request('get', PING, other.domain)
      const later = await login(other, bare(romeo).split('@')[0]!)
      await later.receive(presenceFrom(bare(juliet), 'subscribe'))
      assert.ok(child(await later.receive(says('are you there?')), 'delay', 'urn:xmpp:delay'))
      later.send(`<presence to='${bare(juliet)}' type='subscribed'/>`)
      await juliet.receive(presenceFrom(later.jid))
      await leave(juliet, later)
    },
  },
  {
    name: 'they talk: in order, as it was sent, with receipts and markers',
    async tell(one, other) {
      const [juliet, romeo] = (await couple(one, other, 'strangers')) as [RawClient, RawClient]
      const lines = Array.from({ length: 100 }, (_, n) => `line ${n}`)
      for (const [n, line] of lines.entries()) {
        juliet.send(
          `<message to='${n % 2 ? romeo.jid : bare(romeo)}' type='chat' id='${n}'><body>${line}</body></message>`,
        )
      }
      const heard: XmlElement[] = []
      while (heard.length < lines.length) heard.push(await romeo.receive(el => child(el, 'body') !== undefined))
      assert.deepEqual(
        heard.map(el => child(el, 'body')?.text),
        lines,
      ) // prettier-ignore
      const marks = "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
      const body = "<body>&lt;&#x1F339;&gt; a rose</body><origin-id xmlns='urn:xmpp:sid:0' id='rose'/>"
      juliet.send(`<message to='${romeo.jid}' type='chat' id='rose' xml:lang='en'>${body}${marks}</message>`)
      const rose = await romeo.receive(says('<\u{1F339}> a rose'))
      assert.equal(rose.attrs['id'], 'rose')
      assert.equal(rose.attrs['from'], juliet.jid)
      assert.ok(child(rose, 'request', 'urn:xmpp:receipts') && child(rose, 'markable', 'urn:xmpp:chat-markers:0'))
      for (const mark of ["received xmlns='urn:xmpp:receipts'", "displayed xmlns='urn:xmpp:chat-markers:0'"]) {
        romeo.send(`<message to='${juliet.jid}' type='chat' id='mark'><${mark} id='rose'/></message>`)
        const [name] = mark.split(' ')
        await juliet.receive(el => child(el, name!)?.attrs['id'] === 'rose')
      }
      romeo.send(
        `<message to='${juliet.jid}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>`,
      )
      await juliet.receive(el => child(el, 'composing') !== undefined)
      await leave(juliet, romeo)
    },
  },
  {
    name: 'one sees the other’s picture: told of it, and by asking',
    async tell(one, other) {
      const [juliet, romeo] = (await couple(one, other, 'friends')) as [RawClient, RawClient]
      await interest(juliet, ['urn:xmpp:avatar:metadata'])
      const bytes = await png(64, { r: 200, g: 20, b: 90 })
      const id = createHash('sha1').update(bytes).digest('hex')
      const data = `<data xmlns='urn:xmpp:avatar:data'>${bytes.toString('base64')}</data>`
      await publish(romeo, 'urn:xmpp:avatar:data', data, id)
      const info = `<info id='${id}' bytes='${bytes.length}' type='image/png'/>`
      await publish(
        romeo,
        'urn:xmpp:avatar:metadata',
        `<metadata xmlns='urn:xmpp:avatar:metadata'>${info}</metadata>`,
        id,
      )
      const told = await juliet.receive(publishes('urn:xmpp:avatar:metadata', id))
      assert.equal(told.attrs['from'], bare(romeo))
      const item = `<item id='${id}'/>`
      const answer = await juliet.request('get', ITEMS('urn:xmpp:avatar:data', item), bare(romeo))
      const read = child(child(child(child(answer, 'pubsub'), 'items'), 'item'), 'data')?.text ?? ''
      assert.deepEqual(Buffer.from(read, 'base64'), bytes)
      await leave(juliet, romeo)
    },
  },
  {
    name: 'one asks for the other’s card, and what their server and client can do',
    async tell(one, other) {
      const [juliet, romeo] = (await couple(one, other, 'friends')) as [RawClient, RawClient]
      await romeo.request('set', "<vCard xmlns='vcard-temp'><FN>Romeo Montague</FN></vCard>")
      const card = await juliet.request('get', "<vCard xmlns='vcard-temp'/>", bare(romeo))
      assert.equal(child(child(card, 'vCard'), 'FN')?.text, 'Romeo Montague')
      const info = child(await juliet.request('get', INFO, other.domain), 'query')!
      assert.ok(info.children.some(el => el.name === 'identity' && el.attrs['category'] === 'server'))
      assert.ok(info.children.some(el => el.attrs['var'] === 'urn:xmpp:ping'))
      const items = child(
        await juliet.request('get', "<query xmlns='http://jabber.org/protocol/disco#items'/>", other.domain),
        'query',
      )!
      assert.ok(items.children.some(el => el.attrs['jid'] === `upload.${other.domain}`))
      // A service of the other's, on a name of its own.
      const service = child(await juliet.request('get', INFO, `upload.${other.domain}`), 'query')!
      assert.ok(service.children.some(el => el.attrs['var'] === 'urn:xmpp:http:upload:0'))
      await juliet.request('get', PING, romeo.jid)
      await leave(juliet, romeo)
    },
  },
  {
    name: 'a file: one uploads it, the link is all that the other needs',
    async tell(one, other) {
      const [juliet, romeo] = (await couple(one, other, 'strangers')) as [RawClient, RawClient]
      const bytes = Buffer.from('a letter from the friar')
      const request = `<request xmlns='urn:xmpp:http:upload:0' filename='letter.txt' size='${bytes.length}' content-type='text/plain'/>`
      const slot = child(await juliet.request('get', request, `upload.${one.domain}`), 'slot')!
      const put = child(slot, 'put')!
      const headers = put.children.map(el => [el.attrs['name']!, el.text] as [string, string])
      const put_ = await fetch(put.attrs['url']!, {
        method: 'PUT',
        body: bytes,
        headers: [['content-type', 'text/plain'], ...headers],
      })
      assert.ok(put_.ok, `${put_.status}`)
      const link = child(slot, 'get')!.attrs['url']!
      juliet.send(
        `<message to='${romeo.jid}' type='chat' id='file'><body>${link}</body><x xmlns='jabber:x:oob'><url>${link}</url></x></message>`,
      )
      const message = await romeo.receive(says(link))
      const got = await fetch(child(child(message, 'x', 'jabber:x:oob'), 'url')!.text)
      assert.deepEqual(Buffer.from(await got.arrayBuffer()), bytes)
      await leave(juliet, romeo)
    },
  },
  {
    name: 'for nobody: the error comes from where nobody is',
    async tell(one, other) {
      const [juliet, romeo] = (await couple(one, other, 'strangers')) as [RawClient, RawClient]
      const nobody = `nobody@${other.domain}`
      juliet.send(`<message to='${nobody}' type='chat' id='lost'><body>hello?</body></message>`)
      assert.match(
        errorCondition(await errorFrom(juliet, nobody)),
        /^(service-unavailable|item-not-found|recipient-unavailable)$/,
      )
      await assert.rejects(juliet.request('get', PING, `${nobody}/x`), /service-unavailable/)
      await assert.rejects(juliet.request('get', "<odd xmlns='urn:odd'/>", other.domain), /service-unavailable/)
      await leave(juliet, romeo)
    },
  },
]

test('for a domain that does not exist: remote-server-not-found, at once', async t => {
  for (const [name, server] of servers) {
    await t.test(name, async () => {
      const juliet = await person(server, 'lost')
      const nobody = 'nobody@nowhere.example'
      juliet.send(`<message to='${nobody}' type='chat' id='lost'><body>hello?</body></message>`)
      assert.equal(errorCondition(await errorFrom(juliet, nobody)), 'remote-server-not-found')
      await assert.rejects(juliet.request('get', PING, 'nowhere.example'), /remote-server-not-found/)
      await leave(juliet)
    })
  }
})

for (const [one, other] of PAIRS) {
  test(`${one} and ${other}`, async t => {
    const why = missing(MAKES[one] as Make) || missing(MAKES[other] as Make)
    if (why) return t.skip(why)
    for (const { name, tell } of STORIES) {
      for (const [a, b] of [
        [one, other],
        [other, one],
      ] as const) {
        await t.test(`${a} to ${b}: ${name}`, () => tell(servers.get(a)!, servers.get(b)!))
      }
    }
  })
}

const PING = "<ping xmlns='urn:xmpp:ping'/>"
const INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"

function chat(to: RawClient, body: string): string {
  return `<message to='${bare(to)}' type='chat' id='${body}'><body>${body}</body></message>`
}

function errorFrom(client: RawClient, from: string): Promise<XmlElement> {
  return client.receive(el => el.name === 'message' && el.attrs['type'] === 'error' && el.attrs['from'] === from)
}

async function leave(...clients: RawClient[]): Promise<void> {
  await Promise.all(clients.map(client => client.close()))
}
