import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Notice } from '../../../../src/modules/push/notice.ts'
import { Target } from '../../../../src/modules/push/target.ts'
import { Jid } from '../../../../src/xmpp/jid.ts'
import type { Stanza } from '../../../../src/xmpp/stanza.ts'
import { stanza } from '../../core/support.ts'

const RETRY = 1000
const notice = (id: string | undefined): Notice => ({ kind: 'message', id, sender: 'romeo@example.org', body: '' })
const result = stanza("<iq type='result' id='1' from='push.example'/>")
const error = (condition: string, type = 'cancel') =>
  stanza(
    `<iq type='error' id='1' from='push.example'><error type='${type}'><${condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`,
  )

/** A target whose publications wait until the test answers them, oldest first. */
function setup(t: TestContext, maxErrors = 16) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const sent: (string | undefined)[] = []
  const answers: ((answer: Stanza | undefined) => void)[] = []
  const state = { busy: false, outstanding: true, told: '', refused: '' }
  const target = new Target(
    Jid.from('push.example'),
    'n1',
    { resource: 'phone', at: 0, told: '' },
    {
      settings: { retryAfter: RETRY, maxErrors },
      publish: (_, { id }) => {
        if (state.busy) return 'busy'
        sent.push(id)
        return new Promise(resolve => answers.push(resolve))
      },
      outstanding: (_, missed) => (state.outstanding ? missed : undefined),
      told: ({ registration }) => {
        state.told = registration.told
      },
      refused: (_, reason) => {
        state.refused = reason
      },
    },
  )
  const answer = async (stanza: Stanza | undefined) => {
    answers.shift()!(stanza)
    await Promise.resolve()
    await Promise.resolve()
  }
  return { target, sent, answers, state, answer, tick: (ms: number) => t.mock.timers.tick(ms) }
}

test('each notice is published, and the newest that was taken is remembered', async t => {
  const { target, sent, state, answer } = setup(t)
  for (const id of ['1', '2', '3']) target.tell(notice(id))
  assert.deepEqual(sent, ['1', '2', '3'])
  await answer(result)
  await answer(result)
  assert.equal(state.told, '2')
})

test('beyond the bound, the newest stands for all that came while the others were on their way', async t => {
  const { target, sent, answer } = setup(t)
  for (let n = 0; n < 20; n++) target.tell(notice(String(n).padStart(2, '0')))
  assert.equal(sent.length, 8)
  await answer(result)
  assert.deepEqual(sent.slice(8), ['19'])
  await answer(result)
  assert.equal(sent.length, 9)
})

test('after a failure it waits, longer each time, and goes on one by one until it works again', async t => {
  const { target, sent, answer, answers, tick } = setup(t)
  target.tell(notice('1'))
  for (const [n, pause] of [RETRY, 2 * RETRY, 4 * RETRY].entries()) {
    await answer(n === 1 ? undefined : error('remote-server-timeout', 'wait'))
    target.tell(notice(`later ${n}`))
    tick(pause - 1)
    assert.equal(sent.length, n + 1)
    tick(1)
    assert.equal(sent.length, n + 2)
    target.tell(notice(`last ${n}`))
    assert.equal(answers.length, 1, 'one at a time')
  }
  await answer(result)
  assert.equal(sent.at(-1), 'last 2')
})

test('failures of several publications at once count as one', async t => {
  const { target, answer, state } = setup(t, 3)
  for (const id of ['1', '2', '3', '4']) target.tell(notice(id))
  for (let n = 0; n < 4; n++) await answer(undefined)
  assert.equal(state.refused, '')
})

test('it is given up after so many failures in a row, or at once where the service says so', async t => {
  const { target, answer, state, tick } = setup(t, 2)
  target.tell(notice('1'))
  await answer(error('service-unavailable'))
  tick(RETRY)
  await answer(error('internal-server-error', 'cancel'))
  assert.equal(state.refused, '2 failures in a row')
})

test('what a service refuses for good', async t => {
  for (const [condition, type, refused] of [
    ['item-not-found', 'cancel', true],
    ['forbidden', 'auth', true],
    ['not-acceptable', 'modify', true],
    ['forbidden', 'wait', false],
    ['remote-server-not-found', 'cancel', false],
  ] as const) {
    await t.test(`${condition} ${type}`, async t => {
      const { target, answer, state } = setup(t)
      target.tell(notice('1'))
      await answer(error(condition, type))
      assert.equal(state.refused, refused ? condition : '')
    })
  }
  await t.test('an error without a condition', async t => {
    const { target, answer, state } = setup(t)
    target.tell(notice('1'))
    await answer(stanza("<iq type='error' id='1' from='push.example'/>"))
    assert.equal(state.refused, 'undefined-condition')
  })
})

test('what nobody waits for any more is not told after a pause', async t => {
  const { target, sent, answer, state, tick } = setup(t)
  target.tell(notice('1'))
  await answer(undefined)
  state.outstanding = false
  tick(RETRY)
  assert.equal(sent.length, 1)
})

test('where too much is on its way already, it waits, and that is no failure', async t => {
  const { target, sent, state, tick } = setup(t, 1)
  state.busy = true
  target.tell(notice('1'))
  assert.equal(sent.length, 0)
  tick(RETRY)
  state.busy = false
  tick(RETRY)
  assert.deepEqual(sent, ['1'])
  assert.equal(state.refused, '')
})

test('enabled again, it is tried at once', async t => {
  const { target, sent, answer } = setup(t)
  target.tell(notice('1'))
  await answer(undefined)
  target.renew({ resource: 'phone', at: 1, told: '' })
  assert.deepEqual(sent, ['1', '1'])
})

test('stopped, it is silent, whatever is on its way', async t => {
  const { target, sent, answer, state, tick } = setup(t)
  target.tell(notice('1'))
  target.tell(notice('2'))
  await answer(undefined)
  target.stop()
  await answer(error('gone'))
  tick(10 * RETRY)
  target.tell(notice('3'))
  assert.deepEqual([sent.length, state.refused], [2, ''])
})
