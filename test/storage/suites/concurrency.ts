import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pluck } from '../../support/pluck.ts'
import { HOST, type Open, strings } from './support.ts'

export function concurrency(open: Open): void {
  test('reads see what was called before them, awaited or not', async t => {
    const table = await strings(t, open)
    await table.put(['p'], [0], 'old')
    const writes = [table.put(['p'], [1], 'a'), table.put(['p'], [2], 'b'), table.del(['p'], [0])]
    const reads = [table.get(['p'], [1]), table.get(['p'], [0]), table.scan(['p']), table.partitions()] as const
    const later = table.put(['p'], [1], 'later')
    assert.equal(await reads[0], 'a')
    assert.equal(await reads[1], undefined)
    assert.equal((await reads[2]).length, 2)
    assert.deepEqual(await reads[3], [['p']])
    await Promise.all([...writes, later])
    // While one group is being written and the next gathers.
    const first = table.put(['p'], [3], 'first')
    await new Promise(setImmediate)
    const second = table.put(['p'], [3], 'second')
    assert.equal(await table.get(['p'], [3]), 'second')
    assert.deepEqual(pluck(await table.scan(['p'], { gte: [3] }), 'value'), ['second'])
    await Promise.all([first, second])
  })

  test('a clear sees the writes before it and leaves those after it', async t => {
    const table = await strings(t, open)
    await table.put(['p'], [1], 'old')
    await table.put(['p'], [2], 'old')
    const calls = [
      table.put(['p'], [3], 'pending'),
      table.clear(['p']),
      table.put(['p'], [2], 'new'),
      table.put(['p'], [4], 'new'),
    ]
    assert.equal(await table.get(['p'], [1]), undefined)
    const absent = [table.putIfAbsent(['p'], [3], 'again'), table.putIfAbsent(['p'], [2], 'no')]
    await Promise.all(calls)
    assert.deepEqual(await Promise.all(absent), [true, false])
    assert.deepEqual(await table.scan(['p']), [
      { ck: [2], value: 'new' },
      { ck: [3], value: 'again' },
      { ck: [4], value: 'new' },
    ])
    const twice = [table.clear(['p'], { limit: 1 }), table.clear(['p'], { limit: 1 })]
    assert.deepEqual(pluck(await table.scan(['p']), 'ck'), [[4]])
    await Promise.all(twice)
  })

  test('of many putIfAbsent one wins', async t => {
    const table = await strings(t, open)
    const race = (label: string) =>
      Promise.all(Array.from({ length: 50 }, (_, i) => table.putIfAbsent(['p'], [], `${label}${i}`)))
    const won = await race('a')
    assert.equal(won.filter(Boolean).length, 1)
    assert.equal(await table.get(['p']), `a${won.indexOf(true)}`)
    const deleted = table.del(['p'])
    const again = await race('b')
    await deleted
    assert.equal(again.filter(Boolean).length, 1)
    assert.equal(await table.get(['p']), `b${again.indexOf(true)}`)
  })

  test('two tables of one name are one table', async t => {
    const store = await open(t)
    const [a, b] = [store.table<string>(HOST, { name: 't' }), store.table<string>(HOST, { name: 't' })]
    const wins = await Promise.all([a.putIfAbsent(['p'], [], 'a'), b.putIfAbsent(['p'], [], 'b')])
    assert.deepEqual(wins, [true, false])
    assert.equal(await b.get(['p']), 'a')
  })
}
