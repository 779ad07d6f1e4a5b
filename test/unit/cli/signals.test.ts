import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { describe, test } from 'node:test'
import { handleCrashes, handleSignals } from '../../../src/cli/signals.ts'
import { createLog } from '../../../src/core/log.ts'

/** A process that only emits, and what was done about it. */
function make() {
  const from = new EventEmitter()
  const done: string[] = []
  const lines: string[] = []
  const clock = { now: 1000 }
  const log = createLog({ level: 'debug', format: 'json', destination: { write: line => void lines.push(line) } })
  return { from, done, lines, clock, log, exit: (code: number) => void done.push(`exit ${code}`) }
}

describe('signals', () => {
  function signals() {
    const made = make()
    const { done, log, clock, exit, from } = made
    const handlers = { log, exit, stop: () => void done.push('stop'), reload: () => void done.push('reload') }
    return { ...made, undo: handleSignals({ ...handlers, now: () => clock.now }, from) }
  }

  test('SIGTERM stops in order, once, however often it comes', () => {
    const { from, done, clock } = signals()
    from.emit('SIGTERM', 'SIGTERM')
    clock.now += 60_000
    from.emit('SIGTERM', 'SIGTERM')
    assert.deepEqual(done, ['stop'])
  })

  test('a second SIGINT ends at once, but not the copy of the first that npm passes on', () => {
    const { from, done, clock } = signals()
    from.emit('SIGINT', 'SIGINT')
    clock.now += 20
    from.emit('SIGINT', 'SIGINT')
    assert.deepEqual(done, ['stop'])
    clock.now += 1000
    from.emit('SIGINT', 'SIGINT')
    assert.deepEqual(done, ['stop', 'exit 130'])
  })

  test('SIGHUP reloads; afterwards nothing listens any more', () => {
    const { from, done, undo } = signals()
    from.emit('SIGHUP', 'SIGHUP')
    assert.deepEqual(done, ['reload'])
    undo()
    assert.deepEqual(from.eventNames(), [])
  })
})

describe('crashes', () => {
  test('a promise that nobody took is logged and the server goes on; an exception ends it', () => {
    const { from, done, lines, log, exit } = make()
    const undo = handleCrashes(log, exit, from)
    from.emit('unhandledRejection', new Error('forgotten'))
    assert.deepEqual(done, [])
    assert.match(lines[0] ?? '', /"level":"error".*forgotten/)
    from.emit('uncaughtException', new Error('out of nowhere'))
    assert.deepEqual(done, ['exit 70'])
    assert.match(lines[1] ?? '', /"level":"fatal".*out of nowhere/)
    undo()
    assert.deepEqual(from.eventNames(), [])
  })
})
