import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Changes } from '../../../src/core/changes.ts'

test('of one thing so many changes wait; who makes one more is told to try again', async () => {
  const changes = new Changes()
  const gate = Promise.withResolvers<void>()
  const waiting = Array.from({ length: 100 }, () => changes.run('juliet', () => gate.promise))
  await assert.rejects(
    changes.run('juliet', () => gate.promise),
    { condition: 'resource-constraint', type: 'wait' },
  )
  await changes.run('romeo', () => Promise.resolve())
  gate.resolve()
  await Promise.all(waiting)
  await changes.run('juliet', () => Promise.resolve())
})
