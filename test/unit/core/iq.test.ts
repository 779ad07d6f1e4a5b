import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asStanzaError, type IqDispatch, IqTable } from '../../../src/core/iq.ts'
import { IqRequests } from '../../../src/core/iqrequests.ts'
import { Router } from '../../../src/core/router.ts'
import { StoreError } from '../../../src/storage/store.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import { xml } from '../../../src/xml/index.ts'
import { StanzaError } from '../../../src/xmpp/errors.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import type { Stanza } from '../../../src/xmpp/stanza.ts'
import { settled } from '../../support/waiting.ts'
import { listening, silent, stanza } from './support.ts'

const NS = 'urn:test'

function request(payload = `<query xmlns='${NS}'/>`): IqDispatch {
  const iq = stanza(`<iq type='get' id='q' from='romeo@example.org/o' to='example.org'>${payload}</iq>`)
  return { stanza: iq, from: iq.from, payload: iq.payload!, session: undefined, account: undefined }
}

async function ask(table: IqTable, asked = request(), log = silent): Promise<Stanza> {
  const answers: Stanza[] = []
  await table.dispatch('server', asked, log, answer => answers.push(answer))
  assert.equal(answers.length, 1)
  return answers[0]!
}

const condition = (answer: Stanza): string | undefined => {
  const error = answer.el.children.find(c => typeof c !== 'string' && c.name === 'error')
  const first = typeof error === 'string' ? undefined : error?.children[0]
  return typeof first === 'string' ? undefined : first?.name
}

test('the handler of this scope, type, namespace and name answers; nobody is service-unavailable', async () => {
  const table = new IqTable()
  const undo = table.add('m', 'server', 'get', NS, 'query', () => xml('query', { xmlns: NS }, xml('yes')))
  const answer = await ask(table)
  assert.equal(
    answer.toString(),
    `<iq type='result' id='q' to='romeo@example.org/o' from='example.org'><query xmlns='${NS}'><yes/></query></iq>`,
  )
  assert.equal(condition(await ask(table, request("<query xmlns='urn:other'/>"))), 'service-unavailable')
  assert.equal(condition(await ask(table, request(`<other xmlns='${NS}'/>`))), 'service-unavailable')
  assert.throws(() => table.add('n', 'server', 'get', NS, 'query', () => {}), /is there already, from m/)
  undo()
  assert.equal(condition(await ask(table)), 'service-unavailable')
})

test('errors of handlers: a StanzaError as it is, the store’s as one that may pass, all others as ours, in the log', async () => {
  const { log, lines } = listening()
  for (const later of [false, true]) {
    for (const [thrown, expected] of [
      [new StanzaError('forbidden'), 'forbidden'],
      [new StoreError('full'), 'resource-constraint'],
      [new Error('broken'), 'internal-server-error'],
      ['a text', 'internal-server-error'],
    ] as const) {
      const table = new IqTable()
      table.add('mod_bad', 'server', 'get', NS, 'query', () => {
        if (later) return Promise.reject(thrown)
        throw thrown
      })
      assert.equal(condition(await ask(table, request(), log)), expected)
    }
  }
  assert.equal(lines.length, 6, 'verdicts are not logged')
  assert.ok(lines.every(line => line['module'] === 'mod_bad'))
  assert.equal(asStanzaError(new Error('broken'), silent, 'm').type, 'wait')
})

test('an answer that cannot be written costs an error, not more', async () => {
  for (const later of [false, true]) {
    const table = new IqTable()
    const bad = xml('query', { xmlns: NS }, 'a\u0001b')
    table.add('m', 'server', 'get', NS, 'query', () => (later ? Promise.resolve(bad) : bad))
    const texts: string[] = []
    await table.dispatch('server', request(), silent, answer => texts.push(answer.toString()))
    assert.equal(texts.length, 1)
    assert.match(texts[0]!, /internal-server-error/)
  }
})

/** Requests of example.org, and what is asked by them. */
function asking(bound?: number) {
  const router = new Router(silent)
  const sent: Stanza[] = []
  router.fallback = { ...router.fallback, deliver: asked => void sent.push(asked) }
  const requests = new IqRequests(router, new IdGenerator(), bound)
  const ask = (to: string) => requests.ask(Jid.from('example.org'), Jid.from(to), 'get', xml('query', {}), 1000)
  return { requests, sent, ask }
}

test('only who was asked may answer, once', async () => {
  const { requests, sent, ask } = asking()
  const answer = ask('juliet@example.org/b')
  const { id } = sent[0]!
  const from = (jid: string) => stanza(`<iq type='result' id='${id}' from='${jid}' to='example.org'/>`)
  assert.equal(requests.answer(from('mallory@example.org/b')), false)
  assert.equal(requests.answer(from('juliet@example.org')), false)
  assert.equal(requests.answer(from('juliet@example.org/b')), true)
  assert.equal(requests.answer(from('juliet@example.org/b')), false)
  assert.equal((await answer)?.type, 'result')
})

test('no answer in time is none; beyond the bound the oldest gives way', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { requests, sent, ask } = asking(2)
  const answers: string[] = []
  for (const name of ['a', 'b', 'c']) void ask('example.com').then(answer => answers.push(`${name}:${answer?.type}`))
  await settled(1)
  assert.deepEqual(answers, ['a:undefined'])
  t.mock.timers.tick(1000)
  await settled(1)
  assert.deepEqual(answers, ['a:undefined', 'b:undefined', 'c:undefined'])
  assert.equal(requests.answer(sent[1]!.result()), false)
})
