import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FILTER, FIRST, Hooks, NORMAL, OBSERVE, STOP, STORE } from '../../../src/core/hooks.ts'
import { StanzaError } from '../../../src/xmpp/errors.ts'
import { pluck } from '../../support/pluck.ts'
import { listening, silent } from './support.ts'

interface Fold {
  said: string[]
}

declare module '../../../src/core/hooks.ts' {
  interface HookMap {
    test_fold: Async<Fold>
    test_sync: Sync<Fold>
    test_told: Told<Fold>
  }
}

function fold(): Fold {
  return { said: [] }
}

const say = (word: string) => (event: Fold) => void event.said.push(word)

test('handlers run by their band, and those of one band as they came', () => {
  const hooks = new Hooks(silent)
  hooks.add('m', 'test_fold', say('observe'), { order: OBSERVE })
  hooks.add('m', 'test_fold', say('normal one'))
  hooks.add('m', 'test_fold', say('store'), { order: STORE })
  hooks.add('m', 'test_fold', say('first'), { order: FIRST })
  hooks.add('m', 'test_fold', say('normal two'), { order: NORMAL })
  hooks.add('m', 'test_fold', say('filter'), { order: FILTER })
  const event = fold()
  assert.equal(hooks.run('test_fold', event), undefined)
  assert.deepEqual(event.said, ['first', 'filter', 'normal one', 'normal two', 'store', 'observe'])
  assert.deepEqual(pluck(hooks.list(), 'order'), [FIRST, FILTER, NORMAL, NORMAL, STORE, OBSERVE])
})

test('STOP ends the chain, at once or later', async () => {
  for (const stop of [(): typeof STOP => STOP, (): Promise<typeof STOP> => Promise.resolve(STOP)]) {
    const hooks = new Hooks(silent)
    hooks.add('m', 'test_fold', say('before'), { order: FIRST })
    hooks.add('m', 'test_fold', stop)
    hooks.add('m', 'test_fold', say('after'), { order: OBSERVE })
    const event = fold()
    assert.equal(await hooks.run('test_fold', event), STOP)
    assert.deepEqual(event.said, ['before'])
  }
})

test('a promise comes back only where a handler gave one, and the rest waits for it', async () => {
  const hooks = new Hooks(silent)
  assert.equal(hooks.run('test_fold', fold()), undefined, 'nobody')
  hooks.add('m', 'test_fold', say('one'))
  assert.equal(hooks.run('test_fold', fold()), undefined, 'nobody who waits')
  const gate = Promise.withResolvers<void>()
  hooks.add('m', 'test_fold', async event => {
    await gate.promise
    event.said.push('two')
  })
  hooks.add('m', 'test_fold', say('three'))
  const event = fold()
  const done = hooks.run('test_fold', event)
  assert.ok(done instanceof Promise)
  assert.deepEqual(event.said, ['one'])
  gate.resolve()
  assert.equal(await done, undefined)
  assert.deepEqual(event.said, ['one', 'two', 'three'])
})

test('a handler that fails is logged with its module and skipped; one that guards stops the chain', async () => {
  for (const later of [false, true]) {
    const fail = (): void | Promise<void> => {
      if (later) return Promise.reject(new Error('broken'))
      throw new Error('broken')
    }
    const { log, lines } = listening()
    const hooks = new Hooks(log)
    const undo = hooks.add('mod_bad', 'test_fold', fail)
    hooks.add('m', 'test_fold', say('after'), { order: OBSERVE })
    const event = fold()
    assert.equal(await hooks.run('test_fold', event), undefined)
    assert.deepEqual(event.said, ['after'])
    assert.deepEqual([lines.length, lines[0]!['module'], lines[0]!['hook']], [1, 'mod_bad', 'test_fold'])

    undo()
    hooks.add('mod_guard', 'test_fold', fail, { failClosed: true })
    await assert.rejects(async () => hooks.run('test_fold', event), {
      condition: 'internal-server-error',
      type: 'wait',
    })
    assert.deepEqual(event.said, ['after'], 'nobody came after the guard')
  }
})

test('a verdict for the sender passes on to who ran the chain', async () => {
  for (const failClosed of [false, true]) {
    const hooks = new Hooks(silent)
    const undo = hooks.add(
      'm',
      'test_fold',
      () => {
        throw new StanzaError('forbidden')
      },
      { failClosed },
    )
    assert.throws(() => hooks.run('test_fold', fold()), { name: 'StanzaError', condition: 'forbidden' })
    undo()
    hooks.add('m', 'test_fold', () => Promise.reject(new StanzaError('not-allowed')), { failClosed })
    await assert.rejects(async () => hooks.run('test_fold', fold()), { condition: 'not-allowed' })
  }
})

test('a synchronous run takes no promise for an answer', () => {
  const { log, lines } = listening()
  const hooks = new Hooks(log)
  // @ts-expect-error: its type says so
  hooks.add('m', 'test_sync', () => Promise.resolve(STOP))
  // @ts-expect-error: nobody waits for a synchronous hook
  assert.ok(hooks.run('test_sync', fold()) instanceof Promise)
  assert.equal(hooks.runSync('test_sync', fold()), undefined)
  assert.equal(lines.length, 1)
  assert.equal(lines[0]?.['module'], 'm')
  hooks.add('m', 'test_sync', () => STOP, { order: FIRST })
  assert.equal(hooks.runSync('test_sync', fold()), STOP)
})

test('a notification has no verdict: whatever its handlers throw, who tells is not disturbed', async () => {
  const { log, lines } = listening()
  const hooks = new Hooks(log)
  hooks.add('mod_one', 'test_told', () => {
    throw new StanzaError('forbidden')
  })
  hooks.add('mod_two', 'test_told', () => Promise.reject(new StanzaError('forbidden')))
  hooks.add('mod_three', 'test_told', say('three'), { order: OBSERVE })
  const event = fold()
  hooks.notify('test_told', event)
  await Promise.resolve()
  assert.ok(lines.length >= 1)
  assert.equal(lines[0]!['module'], 'mod_one')
  await new Promise(setImmediate)
  assert.deepEqual(event.said, ['three'], 'the others are told all the same')
})

test('what is added while a chain runs does not join it, what is taken away leaves nothing', () => {
  const hooks = new Hooks(silent)
  const undo = hooks.add('m', 'test_fold', () => void hooks.add('m', 'test_fold', say('late')))
  const event = fold()
  void hooks.run('test_fold', event)
  assert.deepEqual(event.said, [])
  undo()
  undo()
  void hooks.run('test_fold', event)
  assert.deepEqual(event.said, ['late'])
  assert.ok(hooks.has('test_fold'))
})
