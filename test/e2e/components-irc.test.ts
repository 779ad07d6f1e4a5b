/** biboumi, a gateway to IRC, as a component: people of both sides meet in a channel. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { findBiboumi, findNgircd } from '../../scripts/gateways.ts'
import { Launched } from '../support/launched.ts'
import { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { freePorts, type HermodProcess, hermodProcess } from '../support/serverprocess.ts'
import { eventually } from '../support/waiting.ts'

const DOMAIN = 'gateways.example'
const IRC = `irc.${DOMAIN}`
/** biboumi knows servers by their addresses, each with the usual port: one of our own. */
const ADDRESS = '127.61.94.3'
const PORT = 6667
const ROOM = `#verona%${ADDRESS}@${IRC}`

const biboumi = findBiboumi()
const ngircd = findNgircd()
const skip =
  biboumi === undefined || ngircd === undefined ? 'biboumi and ngircd are not installed here: npm run gateways' : false

let folder: string
let server: HermodProcess
let componentPort: number
const children: Launched[] = []

before(async () => {
  if (biboumi === undefined || ngircd === undefined) return
  folder = await mkdtemp(path.join(tmpdir(), 'hermod-irc-'))
  componentPort = (await freePorts(1))[0]!
  const env = { HERMOD_COMPONENT_PORT: String(componentPort), HERMOD_COMPONENT: IRC, HERMOD_COMPONENT_SECRET: 'beep' }
  server = await hermodProcess({ folder, domain: DOMAIN, env })
  await server.start()
  const conf = path.join(folder, 'ngircd.conf')
  await writeFile(
    conf,
    `[Global]
Name = irc.verona.example
Info = Verona
Listen = ${ADDRESS}
Ports = ${PORT}
ServerUID = ${process.getuid?.()}
ServerGID = ${process.getgid?.()}
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
[Options]
DNS = no
Ident = no
PAM = no
`,
  )
  await launch('ngircd', ngircd, ['--nodaemon', '--config', conf], { ip: ADDRESS, port: PORT })
  const cfg = path.join(folder, 'biboumi.cfg')
  await writeFile(
    cfg,
    `hostname=${IRC}
password=beep
xmpp_server_ip=127.0.0.1
port=${componentPort}
db_name=${path.join(folder, 'biboumi.sqlite')}
log_level=0
log_file=${path.join(folder, 'biboumi.log')}
identd_port=0
`,
  )
  // It listens nowhere: that it is there is to be seen at the server.
  await launch('biboumi', biboumi, [cfg], { ip: '127.0.0.1', port: componentPort })
  await eventually(async () => /\b1\b/.test((await server.ctl('components')).out), 'biboumi has logged in')
})
after(async () => {
  for (const process of children.reverse()) await process.kill()
  await server?.stop()
  if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 10 })
})

async function launch(name: string, command: string, args: string[], { ip, port }: { ip: string; port: number }) {
  const log = path.join(folder, `${name}.out`)
  const launched = new Launched({
    name,
    domain: name,
    ip,
    port,
    tlsPort: 0,
    log,
    command,
    args,
    cwd: folder,
    env: process.env,
  })
  children.push(launched)
  await launched.start()
}

/** Somebody with an IRC client. */
class Irc {
  readonly lines: string[] = []
  readonly #socket: Socket

  constructor(nick: string) {
    this.#socket = connect({ host: ADDRESS, port: PORT })
    let rest = ''
    this.#socket.on('data', data => {
      const lines = (rest + data.toString()).split('\r\n')
      rest = lines.pop()!
      for (const line of lines) {
        if (line.startsWith('PING')) this.say(line.replace('PING', 'PONG'))
        this.lines.push(line)
      }
    })
    this.say(`NICK ${nick}`, `USER ${nick} 0 * :${nick}`)
  }

  say(...lines: string[]): void {
    for (const line of lines) this.#socket.write(`${line}\r\n`)
  }

  hears(pattern: RegExp): Promise<string> {
    return eventually(() => this.lines.find(line => pattern.test(line)), `${pattern} in\n${this.lines.join('\n')}`)
  }

  end(): void {
    this.#socket.destroy()
  }
}

async function come(user: string): Promise<RawClient> {
  const where = { host: '127.0.0.1', port: server.port, domain: DOMAIN }
  await RawClient.register(where, user, 'secret').catch(() => {})
  return RawClient.session({ ...where, user, password: 'secret', resource: 'orchard' })
}

const says =
  (from: string, text: string, type = 'groupchat') =>
  (el: XmlElement) =>
    el.name === 'message' && el.attrs['from'] === from && el.attrs['type'] === type && child(el, 'body')?.text === text

async function join(client: RawClient, nick: string): Promise<void> {
  client.send(`<presence to='${ROOM}/${nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>`)
  await client.receive(el => {
    const x = child(el, 'x', 'http://jabber.org/protocol/muc#user')
    return (
      el.name === 'presence' &&
      x?.children.some(({ name, attrs }) => name === 'status' && attrs['code'] === '110') === true
    )
  }, 30_000)
}

test('a user joins a channel, both sides talk, and in private', { skip }, async t => {
  const tybalt = new Irc('tybalt')
  t.after(() => tybalt.end())
  await tybalt.hears(/ 001 /)
  tybalt.say('JOIN #verona')
  await tybalt.hears(/ 366 /)

  const romeo = await come('romeo')
  t.after(() => romeo.close())
  await join(romeo, 'romeo')
  await romeo.receive(el => el.name === 'presence' && el.attrs['from'] === `${ROOM}/tybalt`)
  await tybalt.hears(/:romeo!\S+ JOIN :?#verona/)

  romeo.send(`<message to='${ROOM}' type='groupchat' id='g1'><body>The sun is up</body></message>`)
  await tybalt.hears(/:romeo!\S+ PRIVMSG #verona :The sun is up/)
  await romeo.receive(says(`${ROOM}/romeo`, 'The sun is up'))
  tybalt.say('PRIVMSG #verona :Thou art a villain')
  await romeo.receive(says(`${ROOM}/tybalt`, 'Thou art a villain'))

  romeo.send(`<message to='tybalt%${ADDRESS}@${IRC}' type='chat' id='p1'><body>A word with you</body></message>`)
  await tybalt.hears(/:romeo!\S+ PRIVMSG tybalt :A word with you/)
  tybalt.say('PRIVMSG romeo :A word and a blow')
  await romeo.receive(says(`tybalt%${ADDRESS}@${IRC}`, 'A word and a blow', 'chat'))

  tybalt.say('PART #verona')
  await romeo.receive(el => el.attrs['from'] === `${ROOM}/tybalt` && el.attrs['type'] === 'unavailable')
  romeo.send(`<presence to='${ROOM}/romeo' type='unavailable'/>`)
  await romeo.receive(el => el.attrs['from'] === `${ROOM}/romeo` && el.attrs['type'] === 'unavailable')
})

test('the gateway is among the items of the host, says what it is, and hears when a user goes', { skip }, async t => {
  const juliet = await come('juliet')
  t.after(() => juliet.close())
  const items = await juliet.request('get', "<query xmlns='http://jabber.org/protocol/disco#items'/>", DOMAIN)
  assert.ok(child(items, 'query')!.children.some(({ attrs }) => attrs['jid'] === IRC))
  const info = await juliet.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", IRC)
  const identity = child(child(info, 'query'), 'identity')
  assert.equal(identity?.attrs['category'], 'conference')

  const nurse = new Irc('nurse')
  t.after(() => nurse.end())
  await nurse.hears(/ 001 /)
  nurse.say('JOIN #verona')
  await nurse.hears(/ 366 /)
  await join(juliet, 'juliet')
  await nurse.hears(/:juliet!\S+ JOIN :?#verona/)
  // Her client's connection is gone for good: so she leaves the channel.
  juliet.send("<presence type='unavailable'/>")
  await nurse.hears(/:juliet!\S+ (PART|QUIT)/)
})
