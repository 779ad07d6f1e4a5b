/** config/test.yml in a real process, as a test harness uses it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { offered } from '../support/commands.ts'
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
