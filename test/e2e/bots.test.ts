import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { client, xml } from '@xmpp/client'
import { RawClient } from '../support/rawclient.ts'
import { hermodProcess, type ServerProcess } from '../support/serverprocess.ts'

// The server makes a self-signed certificate.
process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'

const DOMAIN = 'bots.example'
let folder: string
let server: ServerProcess

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'hermod-e2e-'))
  server = await hermodProcess({ folder, domain: DOMAIN })
  await server.start()
  for (const user of ['alice', 'bob', 'carol']) {
    await RawClient.register({ host: '127.0.0.1', port: server.port, domain: DOMAIN }, user, 'secret')
  }
})
after(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

interface El {
  name: string
  attrs: Record<string, string | undefined>
  is(name: string): boolean
  getChild(name: string): El | undefined
  getChildText(name: string): string | null
}

/** A bot made with xmpp.js, logged in over STARTTLS, that remembers what it got. */
class Bot {
  readonly xmpp: ReturnType<typeof client>
  readonly got: El[] = []
  #waiting: { matches: (el: El) => boolean; resolve: (el: El) => void }[] = []

  constructor(user: string, resource: string) {
    this.xmpp = client({
      service: `xmpp://127.0.0.1:${server.port}`,
      domain: DOMAIN,
      username: user,
      password: 'secret',
      resource,
    })
    this.xmpp.on('error', () => {}) // the server is killed in between
    this.xmpp.on('stanza', (el: El) => {
      this.got.push(el)
      for (const waiter of this.#waiting.filter(w => w.matches(el))) waiter.resolve(el)
      this.#waiting = this.#waiting.filter(w => !w.matches(el))
    })
  }

  async start(): Promise<this> {
    await this.xmpp.start()
    await this.xmpp.send(xml('presence'))
    return this
  }

  send(type: string, name: string, attrs: Record<string, string>, ...children: unknown[]): Promise<void> {
    return this.xmpp.send(xml(name, { ...attrs, type }, ...children))
  }

  say(to: string, text: string): Promise<void> {
    return this.send('chat', 'message', { to: `${to}@${DOMAIN}`, id: crypto.randomUUID() }, xml('body', {}, text))
  }

  receive(matches: (el: El) => boolean): Promise<El> {
    const there = this.got.find(matches)
    if (there !== undefined) return Promise.resolve(there)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not received; got ${this.got.join('\n')}`)), 10_000)
      this.#waiting.push({
        matches,
        resolve: el => {
          clearTimeout(timer)
          resolve(el)
        },
      })
    })
  }

  hears(text: string): Promise<El> {
    return this.receive(el => el.is('message') && el.getChildText('body') === text)
  }
}

const presence = (from: string, type?: string) => (el: El) =>
  el.is('presence') && (el.attrs['from'] ?? '').startsWith(`${from}@${DOMAIN}`) && el.attrs['type'] === type

test('two bots befriend each other, chat, and get what came while they were away, over a kill -9', async () => {
  const alice = await new Bot('alice', 'a').start()
  let bob = await new Bot('bob', 'b').start()
  await alice.send('subscribe', 'presence', { to: `bob@${DOMAIN}` })
  await bob.receive(presence('alice', 'subscribe'))
  await bob.send('subscribed', 'presence', { to: `alice@${DOMAIN}` })
  await alice.receive(presence('bob', 'subscribed'))
  await alice.receive(presence('bob'))

  await alice.say('bob', 'hello')
  await bob.hears('hello')
  await bob.say('alice', 'hi')
  await alice.hears('hi')

  await bob.xmpp.stop()
  await alice.receive(presence('bob', 'unavailable'))
  await alice.say('bob', 'are you there?')
  await alice.send('get', 'iq', { to: DOMAIN, id: 'acked' }, xml('ping', { xmlns: 'urn:xmpp:ping' }))
  await alice.receive(el => el.is('iq') && el.attrs['id'] === 'acked')
  await alice.send('get', 'iq', { to: `bob@${DOMAIN}`, id: 'seen' }, xml('query', { xmlns: 'jabber:iq:last' }))
  const seen = await alice.receive(el => el.is('iq') && el.attrs['id'] === 'seen')
  assert.equal(seen.attrs['type'], 'result')
  assert.match(seen.getChild('query')?.attrs['seconds'] ?? '', /^\d$/)
  await alice.xmpp.stop()

  await server.kill()
  await server.start()

  bob = await new Bot('bob', 'elsewhere').start()
  const late = await bob.hears('are you there?')
  assert.equal(late.getChild('delay')?.attrs['from'], DOMAIN)
  assert.equal(bob.got.filter(el => el.is('message')).length, 1)
  await bob.xmpp.stop()
})

const SLIXMPP = `
import asyncio, sys, slixmpp
class Bot(slixmpp.ClientXMPP):
    def __init__(self):
        super().__init__('carol@${DOMAIN}/py', 'secret')
        self.register_plugin('xep_0198'); self.register_plugin('xep_0199')
        self.add_event_handler('session_start', self.begin)
        self.add_event_handler('message', self.message)
        self.add_event_handler('failed_auth', lambda e: sys.exit('login failed'))
    async def begin(self, _):
        self.send_presence(); await self.get_roster(); print('online', flush=True)
    def message(self, m):
        if m['type'] == 'chat':
            print('got ' + m['body'], flush=True)
            m.reply('thank you').send()
            self.disconnect(wait=2)
b = Bot()
b.ca_certs = sys.argv[2]
b.connect(('127.0.0.1', int(sys.argv[1])))
b.process(forever=False)
`

const python = ['/usr/bin/python3', 'python3'].find(
  name => spawnSync(name, ['-c', 'import slixmpp'], { stdio: 'ignore' }).status === 0,
)

test('a slixmpp client and an xmpp.js bot talk', {
  skip: python === undefined && 'python3-slixmpp is not installed',
}, async () => {
  const py = spawn(python!, ['-c', SLIXMPP, String(server.port), path.join(folder, 'data/selfsigned.crt')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const alice = await new Bot('alice', 'a').start()
  let said = ''
  py.stdout.on('data', (chunk: Buffer) => {
    if (!said.includes('online') && String(chunk).includes('online')) void alice.say('carol', 'for you')
    said += chunk
  })
  try {
    const answer = await alice.hears('thank you')
    assert.match(answer.attrs['from'] ?? '', /^carol@/)
    assert.match(said, /got for you/)
  } finally {
    py.kill('SIGKILL')
    await alice.xmpp.stop()
  }
})
