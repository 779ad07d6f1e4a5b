import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { BusyError } from '../../../src/auth/derive.ts'
import { HttpSource } from '../../../src/auth/http.ts'
import { accountService } from '../../support/jwt.ts'
import { pluck } from '../../support/pluck.ts'

type Answer = Parameters<typeof accountService>[1]

async function service(t: TestContext, answer: Answer, more: { maxRequests?: number; timeout?: number } = {}) {
  const { url, asked } = await accountService(t, answer)
  const options = { url, domain: 'example.org', basicAuth: 'hermod:pw', timeout: 5000, maxRequests: 4, ...more }
  return { source: new HttpSource(options), asked }
}

test('it is asked by POST, and says true or false', async t => {
  const { source, asked } = await service(t, ({ path, fields }) => {
    const known = fields['user'] === 'juliet'
    return { body: path.endsWith('check_password') ? `${known && fields['pass'] === 'a&b=ü'}\n` : String(known) }
  })
  assert.equal(await source.check('juliet', 'a&b=ü'), true)
  assert.equal(await source.check('juliet', 'x'), false)
  assert.equal(await source.exists('juliet'), true)
  assert.equal(await source.exists('romeo'), false)
  assert.deepEqual(asked[0], {
    path: '/accounts/check_password',
    fields: { user: 'juliet', pass: 'a&b=ü', server: 'example.org' },
    authorization: `Basic ${Buffer.from('hermod:pw').toString('base64')}`,
  })
  assert.deepEqual(asked[2]?.fields, { user: 'juliet', server: 'example.org' })
})

test('HTTP has words of its own for no; everything else that is not understood is no answer', async t => {
  let reply: { status?: number; body: string } = { body: '' }
  const { source } = await service(t, () => reply)
  for (const status of [401, 403, 404]) {
    reply = { status, body: 'true' }
    assert.equal(await source.check('juliet', 'x'), false, String(status))
  }
  for (reply of [
    { body: '' },
    { body: 'yes' },
    { body: '<html>true</html>' },
    { status: 500, body: 'true' },
    { status: 503, body: 'false' },
    { body: `${'true'.padEnd(5000)}x` },
  ]) {
    await assert.rejects(source.check('juliet', 'x'), /neither true nor false/, JSON.stringify(reply).slice(0, 60))
  }
})

test('a password does not follow where it is sent on to', async t => {
  const elsewhere = await accountService(t, () => ({ body: 'true' }))
  const { createServer } = await import('node:http')
  const server = createServer((_, response) => response.writeHead(307, { location: elsewhere.url }).end())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as { port: number }
  const url = `http://127.0.0.1:${port}`
  const source = new HttpSource({ url, domain: 'x', basicAuth: undefined, timeout: 5000, maxRequests: 1 })
  await assert.rejects(source.check('juliet', 'x'))
  assert.deepEqual(elsewhere.asked, [])
})

test('one that does not answer in time is no answer, and neither is one that is not there', async t => {
  const { source } = await service(t, () => new Promise(() => {}), { timeout: 100, maxRequests: 1 })
  const both = await Promise.allSettled([source.check('juliet', 'x'), source.check('juliet', 'y')])
  assert.deepEqual(pluck(both, 'status'), ['rejected', 'rejected'])
  const gone = new HttpSource({
    url: 'http://127.0.0.1:1',
    domain: 'x',
    basicAuth: undefined,
    timeout: 1000,
    maxRequests: 1,
  })
  await assert.rejects(gone.check('juliet', 'x'))
})

test('it is asked so many at a time; ten times as many wait, and no more', async t => {
  const gate = Promise.withResolvers<void>()
  let running = 0
  let most = 0
  const { source } = await service(
    t,
    async () => {
      most = Math.max(most, ++running)
      await gate.promise
      running--
      return { body: 'true' }
    },
    { maxRequests: 2 },
  )
  const all = Array.from({ length: 22 }, () => source.check('juliet', 'x'))
  await assert.rejects(source.check('juliet', 'x'), BusyError)
  const known = source.exists('juliet') // names have a queue of their own
  gate.resolve()
  assert.equal(await known, true)
  assert.ok((await Promise.all(all)).every(answer => answer))
  assert.ok(most <= 3)
})
