import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { PASSWD } from '../../src/auth/record.ts'
import { pluck } from '../support/pluck.ts'
import { child } from '../support/rawxml.ts'
import {
  answer,
  base64,
  bind,
  byPassword,
  dial,
  HASHES,
  offered,
  outcome,
  people,
  SASL2,
  SCRAM_UPGRADE,
  salted,
  scram,
  UPGRADE,
} from '../support/sasl2client.ts'
import { closed } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

/** juliet's account is from a time when only SHA-1 was kept. */
async function old(t: TestContext): Promise<TestServer> {
  const server = await people(t)
  const table = server.server.store.table('localhost', PASSWD)
  const record = (await table.get(['juliet'], []))!
  await table.put(['juliet'], [], { ...record, scram: { 'SHA-1': record.scram['SHA-1']! } })
  return server
}

const upgrade = (...hashes: string[]): string =>
  hashes.map(hash => `<upgrade xmlns='${UPGRADE}'>UPGR-SCRAM-${hash}</upgrade>`).join('')

async function hashes(server: TestServer): Promise<string[]> {
  return Object.keys((await server.server.store.table('localhost', PASSWD).get(['juliet'], []))!.scram).sort()
}

test('a stream that says whose it is gets only what that account can use; all others look alike', async t => {
  const server = await old(t)
  assert.deepEqual(offered(await dial(t, server, 'juliet')), ['SCRAM-SHA-1-PLUS', 'SCRAM-SHA-1', 'PLAIN'])
  const everybody = offered(await dial(t, server))
  assert.deepEqual(offered(await dial(t, server, 'romeo')), everybody)
  assert.deepEqual(offered(await dial(t, server, 'nobody')), everybody)
  const client = await dial(t, server, 'juliet')
  const tasks = child(client.features, 'authentication')!.children.filter(c => c.ns === UPGRADE)
  assert.deepEqual(pluck(tasks, 'text'), ['UPGR-SCRAM-SHA-512', 'UPGR-SCRAM-SHA-256'])
})

test('a client brings stronger keys, one task after the other, and can use them from then on', async t => {
  const server = await old(t)
  const client = await dial(t, server, 'juliet')
  const { last } = await scram(client, 'SCRAM-SHA-1', {}, `${upgrade('SHA-256', 'SHA-512')}${bind()}`)
  let el = last
  for (const [task, hash] of [
    ['UPGR-SCRAM-SHA-512', 'sha512'],
    ['UPGR-SCRAM-SHA-256', 'sha256'],
  ] as const) {
    assert.equal(el.name, 'continue')
    assert.deepEqual(pluck(child(el, 'tasks')!.children, 'text'), [task])
    assert.equal(child(el, 'additional-data') !== undefined, el === last, 'the proof of the server comes at once')
    client.write(`<next xmlns='${SASL2}' task='${task}'/>`)
    const salt = child(await answer(client), 'salt', SCRAM_UPGRADE)!
    assert.equal(salt.attrs['iterations'], '4096')
    const key = salted(hash, 'secret', salt.text, 4096)
    client.write(`<task-data xmlns='${SASL2}'><hash xmlns='${SCRAM_UPGRADE}'>${base64(key)}</hash></task-data>`)
    el = await answer(client)
  }
  assert.equal(el.name, 'success')
  assert.equal(child(el, 'additional-data'), undefined)
  assert.match(child(el, 'authorization-identifier')!.text, /^juliet@localhost\/Talkative\//)
  await client.ping()
  for (const mechanism of HASHES) {
    assert.equal((await scram(await dial(t, server, 'juliet'), mechanism)).verified, true, mechanism)
  }
})

test('there is no task where nothing is missing, nor one that is not offered', async t => {
  const server = await old(t)
  const romeo = await dial(t, server, 'romeo')
  const { result } = await scram(romeo, 'SCRAM-SHA-256', { username: 'romeo' }, upgrade('SHA-256', 'SHA-512'))
  assert.ok('success' in result)
  const juliet = await dial(t, server, 'juliet')
  assert.equal((await scram(juliet, 'SCRAM-SHA-1', {}, upgrade('SHA3-512', 'SHA-1'))).last.name, 'success')
})

test('a task that is not done is no login', async t => {
  const server = await old(t)
  for (const [sent, expected] of [
    [`<next xmlns='${SASL2}' task='UPGR-SCRAM-SHA-512'/>`, 'malformed-request'],
    [`<abort xmlns='${SASL2}'/>`, 'aborted'],
    [`<task-data xmlns='${SASL2}'><hash xmlns='${SCRAM_UPGRADE}'>AAAA</hash></task-data>`, 'malformed-request'],
  ] as const) {
    const client = await dial(t, server, 'juliet')
    const { last } = await scram(client, 'SCRAM-SHA-1', {}, `${upgrade('SHA-256')}${bind()}`)
    assert.equal(last.name, 'continue')
    client.write(sent)
    assert.equal(outcome(await answer(client)), expected, sent)
    const gone = closed(client)
    client.write('<presence/>')
    assert.match(await gone, /not-authorized/)
  }
  const client = await dial(t, server, 'juliet')
  await scram(client, 'SCRAM-SHA-1', {}, upgrade('SHA-256'))
  client.write(`<next xmlns='${SASL2}' task='UPGR-SCRAM-SHA-256'/>`)
  await answer(client)
  client.write(`<task-data xmlns='${SASL2}'><hash xmlns='${SCRAM_UPGRADE}'>${base64('short')}</hash></task-data>`)
  assert.equal(outcome(await answer(client)), 'malformed-request')
  assert.deepEqual(await hashes(server), ['SHA-1'])
  assert.equal(server.server.sessionCount, 0)
})

test('keys of a password that was changed meanwhile are not taken, and their client is not let in', async t => {
  const server = await old(t)
  const client = await dial(t, server, 'juliet')
  await scram(client, 'SCRAM-SHA-1', {}, upgrade('SHA-256'))
  client.write(`<next xmlns='${SASL2}' task='UPGR-SCRAM-SHA-256'/>`)
  const salt = child(await answer(client), 'salt', SCRAM_UPGRADE)!
  const gone = closed(client)
  const changed = server.server.host('localhost')!.users.setPassword('juliet', 'changed')
  const key = salted('sha256', 'secret', salt.text, 4096)
  client.write(`<task-data xmlns='${SASL2}'><hash xmlns='${SCRAM_UPGRADE}'>${base64(key)}</hash></task-data>`)
  await changed
  assert.match(await gone, /not-authorized/)
  const again = await scram(await dial(t, server), 'SCRAM-SHA-256')
  assert.deepEqual(again.result, { failure: 'not-authorized' })
})

test('a password that comes in the clear brings the keys that are missing by itself', async t => {
  const server = await old(t)
  await byPassword(await dial(t, server, 'juliet'), 'juliet')
  await eventually(async () => (await hashes(server)).length === 3, 'all keys are there')
  assert.equal((await scram(await dial(t, server, 'juliet'), 'SCRAM-SHA-512')).verified, true)
})
