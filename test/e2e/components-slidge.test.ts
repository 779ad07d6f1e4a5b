/** A gateway made with slidge, as a component that may act in the name of users (XEP-0356): it fills their contact lists. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { bringSlidge } from '../../scripts/gateways.ts'
import { Launched } from '../support/launched.ts'
import { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { freePorts, type HermodProcess, hermodProcess } from '../support/serverprocess.ts'
import { copyOf, says } from '../support/talk.ts'
import { eventually } from '../support/waiting.ts'

const DOMAIN = 'gateways.example'
const VERONA = `verona.${DOMAIN}`
const JULIET = `juliet@${VERONA}`
const ROSTER = 'jabber:iq:roster'

const python = await bringSlidge().catch((error: unknown) => error)
const skip = typeof python === 'string' ? false : `slidge cannot be had from PyPI: ${String(python).slice(0, 200)}`

let folder: string
let server: HermodProcess
let gateway: Launched

before(async () => {
  if (typeof python !== 'string') return
  folder = await mkdtemp(path.join(tmpdir(), 'hermod-slidge-'))
  const [port] = await freePorts(1)
  const preset = path.join(folder, 'hermod.yml')
  const text = await readFile(path.resolve(import.meta.dirname, '../../config/test.yml'), 'utf8')
  const granted = `modules:
  mod_privilege:
    entities:
      ${VERONA}:
        roster: both
        message: outgoing
        iq:
          http://jabber.org/protocol/pubsub: both
          http://jabber.org/protocol/pubsub#owner: set
          urn:xmpp:http:upload:0: get
`
  await writeFile(preset, text.replace(/^modules:\n/m, granted))
  const env = { HERMOD_COMPONENT_PORT: String(port), HERMOD_COMPONENT: VERONA, HERMOD_COMPONENT_SECRET: 'beep' }
  server = await hermodProcess({ folder, domain: DOMAIN, env, config: preset })
  await server.start()
  gateway = new Launched({
    ...{
      name: 'slidge',
      domain: VERONA,
      ip: '127.0.0.1',
      port: port!,
      tlsPort: 0,
      log: path.join(folder, 'slidge.log'),
    },
    command: python,
    args: [
      ...['-m', 'slidge', '--legacy-module', 'verona', '--jid', VERONA, '--secret', 'beep', '--debug'],
      ...['--server', '127.0.0.1', '--port', String(port), '--home-dir', path.join(folder, 'slidge')],
    ],
    cwd: path.resolve(import.meta.dirname, 'gateway'),
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', SLIDGE_CONF_DIR: `${folder}/none` },
  })
  await start()
})
after(async () => {
  await gateway?.kill()
  await server?.stop()
  if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 10 })
})

/** It listens nowhere: that it is there is to be seen at the server. */
async function start(): Promise<void> {
  await gateway.start()
  await eventually(
    async () => {
      if (gateway.died !== undefined) throw new Error(`${gateway.died}\n${await readFile(gateway.log, 'utf8')}`)
      return /\b1\b/.test((await server.ctl('components')).out)
    },
    'the gateway has logged in',
    30_000,
  )
}

async function come(user: string, resource: string): Promise<RawClient> {
  const where = { host: '127.0.0.1', port: server.port, domain: DOMAIN }
  await RawClient.register(where, user, 'secret').catch(() => {})
  const client = await RawClient.session({
    ...where,
    user,
    password: 'secret',
    resource,
    presence: false,
    timeout: 30_000,
  })
  await client.request('set', "<enable xmlns='urn:xmpp:carbons:2'/>")
  return client
}

async function roster(client: RawClient) {
  const answer = await client.request('get', `<query xmlns='${ROSTER}'/>`)
  return child(answer, 'query')!.children.map(({ attrs: { jid, name, subscription }, children }) => ({
    jid,
    name,
    subscription,
    groups: children.map(({ text }) => text),
  }))
}

const pushOf = (jid: string) => (el: XmlElement) => child(child(el, 'query', ROSTER), 'item')?.attrs['jid'] === jid

test('a user registers, has the contact in the roster, and talks with it', { skip }, async t => {
  const romeo = await come('romeo', 'orchard')
  t.after(() => romeo.close())
  assert.deepEqual(await roster(romeo), [])
  romeo.send('<presence/>')
  const form = await romeo.request('get', "<query xmlns='jabber:iq:register'/>", VERONA)
  assert.ok(child(child(form, 'query'), 'x', 'jabber:x:data'))
  await romeo.request(
    'set',
    "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='username'><value>romeo</value></field><field var='password'><value>balcony</value></field></x></query>",
    VERONA,
  )
  await romeo.receive(pushOf(VERONA))
  await romeo.receive(pushOf(JULIET))
  const contacts = await roster(romeo)
  assert.deepEqual(
    contacts.find(({ jid }) => jid === JULIET),
    { jid: JULIET, name: 'Juliet', subscription: 'both', groups: ['Verona'] },
  )
  assert.equal(contacts.find(({ jid }) => jid === VERONA)?.subscription, 'both')
  await romeo.receive(el => el.name === 'presence' && el.attrs['from']?.startsWith(`${JULIET}/`) === true)

  romeo.send(`<message to='${JULIET}' type='chat' id='1'><body>good night</body></message>`)
  const answer = await romeo.receive(says('you said good night'))
  assert.equal(answer.attrs['from']!.split('/')[0], JULIET)

  romeo.send(`<message to='${JULIET}' type='chat' id='k'><body>whom do I know?</body></message>`)
  await romeo.receive(says([JULIET, VERONA].sort().join(' ')))
  romeo.send(`<message to='${JULIET}' type='chat' id='n'><body>take a note</body></message>`)
  await romeo.receive(says('noted'))
  await romeo.request(
    'get',
    "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:verona:note'/></pubsub>",
  )

  // What the user says with the network's own program, the user's clients show as sent.
  romeo.send(`<message to='${JULIET}' type='chat' id='2'><body>from my phone: parting is sweet sorrow</body></message>`)
  await romeo.receive(copyOf('sent', 'parting is sweet sorrow'))
  const archive = await romeo.request('set', "<query xmlns='urn:xmpp:mam:2' queryid='q'/>")
  assert.ok(child(archive, 'fin'))
  await romeo.receive(el => JSON.stringify(el).includes('parting is sweet sorrow') && child(el, 'result') !== undefined)
})

test('the gateway is restarted: what it was told meanwhile it answers, and who comes online sees the contact', {
  skip,
  todo: 'slidge does not always end within 20 s of SIGTERM; the cause is not known yet',
}, async t => {
  const romeo = await come('romeo', 'street')
  t.after(() => romeo.close())
  romeo.send('<presence/>')
  await romeo.receive(el => el.name === 'presence' && el.attrs['from']?.startsWith(`${JULIET}/`) === true)
  await gateway.stop()
  await romeo.receive(el => el.name === 'presence' && el.attrs['from'] === JULIET && el.attrs['type'] === 'unavailable')
  romeo.send(`<message to='${JULIET}' type='chat' id='3'><body>are you there?</body></message>`)
  await romeo.ping()
  await start()
  await romeo.receive(says('you said are you there?'))
  await romeo.receive(el => el.name === 'presence' && el.attrs['from']?.startsWith(`${JULIET}/`) === true)
})
