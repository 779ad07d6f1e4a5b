import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { emptyFolder } from '../support/folder.ts'
import { accountService, jwt } from '../support/jwt.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import {
  agent,
  answer,
  authenticate,
  bind,
  dial,
  FAST,
  logIn,
  outcome,
  plain,
  requestToken,
  SASL2,
  tokenOf,
} from '../support/sasl2client.ts'
import { available, says, serve } from '../support/talk.ts'
import { TestServer } from '../support/testserver.ts'

const SECRET = Buffer.alloc(32, 9)
const KEY = JSON.stringify({ kty: 'oct', k: SECRET.toString('base64url') })

async function keyFile(t: TestContext, text = KEY): Promise<string> {
  const folder = await emptyFolder(t)
  const file = path.join(folder, 'jwt.jwk')
  await writeFile(file, text)
  return file
}

const soon = (): number => Math.floor(Date.now() / 1000) + 60
const tokenFor = (user: string): string => jwt('HS256', SECRET, { jid: `${user}@localhost`, exp: soon() })

function offered(client: RawClient): string[] {
  const authentication = child(client.features, 'authentication', SASL2)
  return authentication?.children.filter(c => c.name === 'mechanism').map(c => c.text) ?? []
}

async function tryPlain(t: TestContext, server: TestServer, user: string, password: string): Promise<string> {
  const client = await dial(t, server)
  client.write(authenticate('PLAIN', plain(user, password)))
  return outcome(await answer(client))
}

test('a token as password: its account is made, and gets messages from then on', async t => {
  const server = await serve(t, { config: { auth_method: ['jwt'], jwt_key: await keyFile(t) } })
  const romeo = await dial(t, server, 'romeo')
  assert.deepEqual(offered(romeo), ['PLAIN'], 'there are no keys for SCRAM')
  const authentication = child(romeo.features, 'authentication')!
  assert.ok(!authentication.children.some(c => c.name === 'upgrade'))
  assert.equal(child(child(authentication, 'inline'), 'fast', FAST), undefined)
  const inner = `${agent()}${requestToken()}${bind()}`
  const success = await logIn(romeo, 'PLAIN', plain('romeo', tokenFor('romeo')), inner)
  assert.equal(success.name, 'success')
  assert.equal(tokenOf(success), undefined)
  const juliet = await dial(t, server)
  await logIn(juliet, 'PLAIN', plain('juliet', tokenFor('juliet')), bind())
  romeo.send("<message to='juliet@localhost' type='chat' id='1'><body>hi</body></message>")
  await romeo.ping()
  await available(juliet)
  await juliet.receive(says('hi'))
  assert.equal(await tryPlain(t, server, 'romeo', tokenFor('juliet')), 'not-authorized')
  assert.equal(await tryPlain(t, server, 'romeo', 'secret'), 'not-authorized')
})

test('a chain: the store first, then tokens; tokens of XEP-0484 are for those whose password is here', async t => {
  const config = { auth_method: ['internal', 'jwt'], jwt_key: await keyFile(t) }
  const server = await serve(t, { config })
  await server.register('juliet')
  const client = await dial(t, server)
  assert.ok(offered(client).includes('SCRAM-SHA-256'))
  const inner = `${agent()}${requestToken()}`
  assert.ok(tokenOf(await logIn(client, 'PLAIN', plain('juliet'), inner)))
  for (const user of ['juliet', 'romeo']) {
    const other = await dial(t, server)
    const success = await logIn(other, 'PLAIN', plain(user, tokenFor(user)), inner)
    assert.equal(success.name, 'success')
    assert.equal(tokenOf(success), undefined)
  }
  assert.equal(await tryPlain(t, server, 'romeo', 'secret'), 'not-authorized')
  // Who says that he is romeo is not offered what romeo cannot use.
  assert.deepEqual(offered(await dial(t, server, 'romeo')), ['PLAIN'])
  const users = server.server.host('localhost')!.users
  await users.disable('romeo')
  assert.equal(await tryPlain(t, server, 'romeo', tokenFor('romeo')), 'account-disabled')
})

test('a web service: who it knows can log in, and is written to before he ever did', async t => {
  const { url, asked } = await accountService(t, ({ path, fields }) => ({
    body: String(fields['user'] === 'juliet' && (path.endsWith('user_exists') || fields['pass'] === 'pw')),
  }))
  const server = await serve(t, { config: { auth_method: ['internal', 'http'], auth_http: { url } } })
  const romeo = await server.client('romeo')
  romeo.send("<message to='juliet@localhost' type='chat' id='1'><body>early</body></message>")
  romeo.send("<message to='nobody@localhost' type='chat' id='2'><body>?</body></message>")
  await romeo.receive(el => el.attrs['type'] === 'error' && el.attrs['id'] === '2')
  const juliet = await dial(t, server)
  assert.equal(outcome(await logIn(juliet, 'PLAIN', plain('juliet', 'pw'), bind())), 'success')
  await available(juliet)
  await juliet.receive(says('early'))
  assert.equal(await tryPlain(t, server, 'juliet', 'wrong'), 'not-authorized')
  assert.ok(asked.every(one => one.fields['server'] === 'localhost'))
})

test('a web service that fails is nobody’s fault, and counts as none', async t => {
  let status = 500
  const { url } = await accountService(t, () => ({ status, body: 'true' }))
  const config = { auth_method: ['http'], auth_http: { url }, max_failures_per_account: 2 }
  const server = await serve(t, { config })
  for (let i = 0; i < 4; i++) assert.equal(await tryPlain(t, server, 'juliet', 'pw'), 'temporary-auth-failure')
  status = 200
  const juliet = await dial(t, server)
  assert.equal(outcome(await logIn(juliet, 'PLAIN', plain('juliet', 'pw'), bind())), 'success')
  // Whether somebody is there cannot be told now, so the sender is told to try again.
  status = 500
  juliet.send("<message to='romeo@localhost' type='chat' id='1'><body>?</body></message>")
  const error = await juliet.receive(el => el.attrs['id'] === '1')
  assert.equal(child(error, 'error')?.attrs['type'], 'wait')
  await juliet.ping()
})

test('options that cannot be used stop the start, and say which they are', async t => {
  for (const [config, words] of [
    [{ auth_method: ['jwt'] }, /jwt_key: .*localhost/],
    [{ auth_method: ['jwt'], jwt_key: '/nonexistent' }, /jwt_key: \/nonexistent/],
    [{ auth_method: ['jwt'], jwt_key: await keyFile(t, 'secret') }, /neither a JWK nor PEM/],
    [{ auth_method: ['http'] }, /auth_http.url/],
  ] as const) {
    await assert.rejects(TestServer.start({ config }), words)
  }
})

test('methods may change while the server runs; what is wrong with them changes nothing', async t => {
  const server = await serve(t)
  await server.register('juliet')
  const { config } = server.server
  const host = config.perHost.get('localhost')!
  const file = await keyFile(t)
  const using = (more: object) => ({ ...config, perHost: new Map([['localhost', { ...host, ...more }]]) })
  const reload = (more: object) => server.server.reload(using({ modules: {}, ...more }), new Map())
  await assert.rejects(reload({ auth_method: ['jwt'], jwt_key: '/nonexistent' }), /jwt_key/)
  assert.equal(await tryPlain(t, server, 'juliet', 'secret'), 'success')
  await reload({ auth_method: ['jwt'], jwt_key: file })
  assert.equal(await tryPlain(t, server, 'juliet', 'secret'), 'not-authorized')
  assert.equal(await tryPlain(t, server, 'juliet', tokenFor('juliet')), 'success')
  assert.deepEqual(offered(await dial(t, server)), ['PLAIN'])
  const { users } = server.server.host('localhost')!
  await assert.rejects(users.create('romeo', 'secret'), { name: 'CredentialError' })
})
