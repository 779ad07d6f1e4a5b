/** Failed logins: what who guesses learns, and whom it keeps out. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { AccountChain } from '../../src/auth/chain.ts'
import { RawClient } from '../support/rawclient.ts'
import {
  agent,
  byPassword,
  byToken,
  dial,
  outcome,
  people,
  plain,
  requestToken,
  scram,
  tokenOf,
} from '../support/sasl2client.ts'
import type { TestServer } from '../support/testserver.ts'

const isSasl = (el: { ns: string }) => el.ns === 'urn:ietf:params:xml:ns:xmpp-sasl'

/** A connection over TLS from an address of loopback that ends so. */
async function from(t: TestContext, server: TestServer, end: number): Promise<RawClient> {
  const localAddress = `127.0.0.${end}`
  const client = await RawClient.connect({ port: server.port, domain: server.host, tls: 'starttls', localAddress })
  t.after(() => client.cut())
  return client
}

/** The condition and text of the answer, or `success`. */
async function tries(client: RawClient, user: string, password: string): Promise<[string, string]> {
  client.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain(user, password)}</auth>`)
  const el = await client.receive(isSasl)
  return el.name === 'success' ? ['success', ''] : [el.children[0]!.name, el.children[1]?.text ?? '']
}

test('who has tried too often from one address gets one answer, right or wrong, account or none', async t => {
  const server = await people(t, { config: { max_failures_per_account: 2 } })
  const guesses = ['wrong', 'wrong', 'wrong', 'secret', 'wrong', 'secret']
  const learnt: Record<string, string[]> = {}
  for (const user of ['juliet', 'nobody']) {
    learnt[user] = []
    for (const guess of guesses) learnt[user].push((await tries(await from(t, server, 101), user, guess))[0])
    assert.deepEqual(learnt[user].slice(0, 2), ['not-authorized', 'not-authorized'])
    assert.deepEqual(learnt[user].slice(2), Array(4).fill('temporary-auth-failure'))
  }
  assert.equal((await tries(await from(t, server, 102), 'juliet', 'secret'))[0], 'success')
})

test('the same for SCRAM: also where the answers of many are awaited at once', async t => {
  const server = await people(t, { config: { max_failures_per_account: 2 } })
  const clients = await Promise.all(Array.from({ length: 6 }, () => dial(t, server)))
  const passwords = ['wrong', 'wrong', 'secret', 'wrong', 'secret', 'wrong']
  for (const [n, client] of clients.slice(0, 2).entries()) {
    const { result } = await scram(client, 'SCRAM-SHA-256', { password: passwords[n] })
    assert.deepEqual(result, { failure: 'not-authorized' })
  }
  const ends = await Promise.all(
    clients.slice(2).map((client, n) => scram(client, 'SCRAM-SHA-256', { password: passwords[n + 2] })),
  )
  for (const { result } of ends) assert.deepEqual(result, { failure: 'temporary-auth-failure' })
})

test('a locked password costs no work: nothing is derived', async t => {
  const server = await people(t, { config: { max_failures_per_account: 1 } })
  await tries(await from(t, server, 101), 'juliet', 'wrong')
  const users = server.server.host('localhost')!.users as AccountChain
  let checked = 0
  const check = users.check.bind(users)
  users.check = (user, password) => {
    checked++
    return check(user, password)
  }
  assert.equal((await tries(await from(t, server, 101), 'juliet', 'secret'))[0], 'temporary-auth-failure')
  assert.equal(checked, 0)
  assert.equal((await tries(await from(t, server, 109), 'juliet', 'secret'))[0], 'success')
  assert.equal(checked, 1)
})

test('an account that is attacked from many addresses: its owner comes in from where they came before, and by token', async t => {
  const lines: Record<string, unknown>[] = []
  const logTo = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) }
  const server = await people(t, { config: { max_failures_per_account_total: 10, loglevel: 'info' }, logTo })
  const phone = await from(t, server, 7)
  const token = tokenOf(await byPassword(phone, 'juliet', `${agent()}${requestToken()}`))!
  for (const user of ['juliet', 'nobody']) {
    for (let n = 1; n <= 10; n++) {
      assert.equal((await tries(await from(t, server, 100 + n), user, 'wrong'))[0], 'not-authorized')
    }
    for (const guess of ['wrong', 'secret']) {
      const [condition, text] = await tries(await from(t, server, 199), user, guess)
      assert.equal(condition, 'temporary-auth-failure', `${user} ${guess}`)
      assert.match(text, /too many failed logins; wait \d+ s/)
    }
  }
  assert.equal((await tries(await from(t, server, 7), 'juliet', 'secret'))[0], 'success')
  assert.equal((await tries(await from(t, server, 7), 'juliet', 'wrong'))[0], 'not-authorized')
  assert.equal((await tries(await from(t, server, 199), 'romeo', 'secret'))[0], 'success', 'others are not touched')
  const warned = lines.filter(line => String(line['msg']).startsWith('an account is guessed at'))
  assert.deepEqual(
    warned.map(line => line['account']),
    ['juliet@localhost', 'nobody@localhost'],
    'the operator is told, once each',
  )
  assert.ok(lines.some(line => String(line['msg']).startsWith('a login was not heard')))
  const elsewhere = await from(t, server, 8)
  assert.equal(outcome(await byToken(elsewhere, 'juliet', token)), 'success', 'a token, from anywhere')
})
