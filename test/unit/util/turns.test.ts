import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Turns } from '../../../src/util/turns.ts'

const full = () => new Error('full')

test('work on a key waits for that before it, failed or not; on another key it does not', async () => {
  const turns = new Turns(10, full)
  const gate = Promise.withResolvers<void>()
  const done: string[] = []
  const first = turns.run('a', async () => {
    await gate.promise
    done.push('first')
    throw new Error('broken')
  })
  const second = turns.run('a', async () => {
    done.push('second')
    return 2
  })
  await turns.run('b', async () => void done.push('other'))
  assert.deepEqual(done, ['other'])
  gate.resolve()
  await assert.rejects(first, /broken/)
  assert.equal(await second, 2)
  assert.deepEqual(done, ['other', 'first', 'second'])
  assert.equal(turns.busy('a'), false)
})

test('so many pieces wait for a key, of so many bytes; more are refused, but what must be done', async () => {
  const turns = new Turns(3, full, 100)
  const gate = Promise.withResolvers<void>()
  const done: string[] = []
  const piece = (name: string, bytes: number) =>
    turns.run(
      name[0]!,
      async () => {
        await gate.promise
        done.push(name)
      },
      bytes,
    )
  const taken = [piece('a1', 60), piece('a2', 40), piece('b1', 1), piece('b2', 1), piece('b3', 1)]
  await assert.rejects(piece('a3', 1), /full/)
  await assert.rejects(piece('b4', 0), /full/)
  taken.push(turns.must('b', async () => void done.push('b4')))
  gate.resolve()
  await Promise.all(taken)
  assert.deepEqual(done.sort(), ['a1', 'a2', 'b1', 'b2', 'b3', 'b4'])
  await piece('a3', 100)
  assert.equal(done.at(-1), 'a3')
})
