/** config/test.yml in a real process, as a test harness uses it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { test } from 'node:test'
import { TestCa } from '../support/ca.ts'
import { offered } from '../support/commands.ts'
import { DnsServer } from '../support/dns.ts'
import { emptyFolder } from '../support/folder.ts'
import { RawClient } from '../support/rawclient.ts'
import { RawComponent } from '../support/rawcomponent.ts'
import { freePorts, hermodProcess } from '../support/serverprocess.ts'

test('admin of the domain administers; any number of wrong passwords is answered at once', async t => {
  const server = await hermodProcess({
    folder: await emptyFolder(t),
    domain: 'preset.test',
    sets: ['storage.driver=memory'],
  })
  await server.start()
  t.after(() => server.kill())
  const where = { port: server.port, domain: server.domain }
  await RawClient.register(where, 'romeo', 'secret')
  await assert.rejects(RawClient.register(where, 'admin', 'secret'), /conflict/)
  const made = await server.ctl('register', 'admin@preset.test', 'secret')
  assert.equal(made.code, 0, made.err)
  const admin = await RawClient.session({ ...where, user: 'admin', password: 'secret' })
  const romeo = await RawClient.session({ ...where, user: 'romeo', password: 'secret' })
  const node = 'http://jabber.org/protocol/admin#get-registered-users-num'
  assert.ok((await offered(admin, server.domain)).includes(node))
  assert.ok(!(await offered(romeo, server.domain)).includes(node))
  const wrong = async (times: number) => {
    const begun = performance.now()
    for (let n = 0; n < times; n++) {
      const client = await RawClient.connect(where)
      await assert.rejects(client.login({ user: 'romeo', password: 'wrong' }), /not-authorized/)
      client.cut()
    }
    return performance.now() - begun
  }
  const [first, rest] = [await wrong(5), await wrong(15)]
  // With the delays of a server in the open the last fifteen take a minute.
  assert.ok(rest < 30 * first, `${rest} ms after ${first} ms for the first five`)
  for (const client of [admin, romeo]) client.cut()
})

test('a component of the environment logs in at its port; without the port there is none', async t => {
  const [port] = await freePorts(1)
  const start = async (env: Record<string, string>) => {
    const server = await hermodProcess({
      folder: await emptyFolder(t),
      domain: 'preset.test',
      sets: ['storage.driver=memory'],
      env: { HERMOD_COMPONENT: 'bot.preset.test', HERMOD_COMPONENT_SECRET: 'beep', ...env },
    })
    await server.start()
    t.after(() => server.kill())
    await RawClient.register({ port: server.port, domain: server.domain }, 'romeo', 'secret')
    return RawClient.session({ port: server.port, domain: server.domain, user: 'romeo', password: 'secret' })
  }
  const romeo = await start({ HERMOD_COMPONENT_PORT: String(port) })
  const bot = await RawComponent.login({ port: port!, name: 'bot.preset.test', password: 'beep' })
  romeo.send("<message to='bot.preset.test' type='chat' id='1'><body>hello</body></message>")
  await bot.receive(el => el.name === 'message' && el.attrs['id'] === '1')
  bot.cut()
  romeo.cut()

  const alone = await start({ HERMOD_COMPONENT_PORT: '0' })
  await assert.rejects(
    alone.request('get', "<ping xmlns='urn:xmpp:ping'/>", 'bot.preset.test'),
    /remote-server-not-found/,
  )
  alone.cut()
})

test('other servers: at the ports of the environment, asked for at its DNS server, with its authorities; tried again in its time', async t => {
  const folder = await emptyFolder(t)
  const dns = await DnsServer.start(t)
  const [s2s, direct] = await freePorts(2)
  const there = 'elsewhere.example'
  dns.zone = { [`_xmpps-server._tcp.${there}`]: { SRV: [{ port: direct!, target: `host.${there}` }] } }
  dns.zone[`host.${there}`] = { A: ['127.0.0.1'] }
  const ca = TestCa.create()
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text)
    return path.join(folder, name)
  }
  const { cert, key } = ca.issue(['preset.test'])
  const server = await hermodProcess({
    folder,
    domain: 'preset.test',
    env: {
      HERMOD_CERT: file('cert.pem', cert),
      HERMOD_KEY: file('key.pem', key),
      HERMOD_S2S_PORT: String(s2s),
      HERMOD_CA: file('ca.pem', ca.pem),
      HERMOD_RESOLVER: dns.address,
      HERMOD_S2S_RETRY: '100ms',
    },
  })
  await server.start()
  t.after(() => server.kill())
  const shown = await server.ctl('status')
  assert.match(shown.out, new RegExp(`port ${server.port} +c2s`))
  assert.match(shown.out, new RegExp(`port ${s2s} +s2s, 127.0.0.1, tls required`))
  assert.match(
    readFileSync(server.log, 'utf8'),
    /Clients connect to port \d+ \(STARTTLS\) or port \d+ \(direct TLS\)\.\n/,
  )

  // A server that nobody has to believe but who is given the authority; it is away at first.
  const where = { port: server.port, domain: server.domain }
  await RawClient.register(where, 'romeo', 'secret')
  const romeo = await RawClient.session({ ...where, user: 'romeo', password: 'secret' })
  romeo.send(`<message to='juliet@${there}' type='chat' id='1'><body>hello</body></message>`)
  await romeo.ping()
  const away = createServer(socket => socket.destroy()).listen(direct, '127.0.0.1')
  t.after(() => away.close())
  for (let tries = 0; tries < 3; tries++) await once(away, 'connection')
  assert.ok(dns.questions.some(question => question.startsWith(`SRV _xmpps-server._tcp.${there}`)))
  romeo.cut()
})
