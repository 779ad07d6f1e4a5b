import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Key, Table } from '../../../src/storage/store.ts'
import { pluck } from '../../support/pluck.ts'
import { HOST, type Open, shuffled, strings, TRICKY } from './support.ts'

export function rows(open: Open): void {
  test('get finds what was put, the latest of it, and nothing else', async t => {
    const table = await strings(t, open)
    assert.equal(await table.get(['alice'], ['x']), undefined)
    await table.put(['alice'], ['x'], 'one')
    await table.put(['alice'], ['x'], 'two')
    assert.equal(await table.get(['alice'], ['x']), 'two')
    assert.equal(await table.get(['alice']), undefined)
    assert.equal(await table.get(['alice'], ['x', 'y']), undefined)
    assert.equal(await table.get(['bob'], ['x']), undefined)
  })

  test('a row may have no clustering key, beside rows that have one', async t => {
    const table = await strings(t, open)
    await table.put(['alice'], [], 'bare')
    await table.put(['alice'], ['x'], 'long')
    assert.equal(await table.get(['alice']), 'bare')
    assert.deepEqual(await table.scan(['alice']), [
      { ck: [], value: 'bare' },
      { ck: ['x'], value: 'long' },
    ])
    await table.del(['alice'])
    assert.deepEqual(await table.scan(['alice']), [{ ck: ['x'], value: 'long' }])
  })

  test('del takes one row, and none where there is none', async t => {
    const table = await strings(t, open)
    await table.put(['p'], [1], 'one')
    await table.put(['p'], [2], 'two')
    await table.del(['p'], [1])
    await table.del(['p'], [3])
    await table.del(['q'], [1])
    assert.equal(await table.get(['p'], [1]), undefined)
    assert.equal(await table.get(['p'], [2]), 'two')
  })

  test('putIfAbsent writes once', async t => {
    const table = await strings(t, open)
    assert.equal(await table.putIfAbsent(['p'], [], 'first'), true)
    assert.equal(await table.putIfAbsent(['p'], [], 'second'), false)
    assert.equal(await table.get(['p']), 'first')
    await table.del(['p'])
    assert.equal(await table.putIfAbsent(['p'], [], 'third'), true)
    assert.equal(await table.get(['p']), 'third')
  })

  test('scan orders numbers by value, before strings by code point, a key before its extensions', async t => {
    const table = await strings(t, open)
    const ordered: Key[] = [
      [],
      [-1e300],
      [-2],
      [-1],
      [-0.5],
      [0],
      [0.5],
      [2],
      [10],
      [10, 'x'],
      [100],
      [1e300],
      [''],
      ['', ''],
      ['\0'],
      ['\x01'],
      ['A'],
      ['a'],
      ['a', -1],
      ['a', 1],
      ['a', 'a'],
      ['a\0'],
      ['a\0b'],
      ['ab'],
      ['b'],
      ['é'],
      ['퟿'],
      ['\ue000'],
      ['\uffff'],
      ['😀'],
      ['\u{10ffff}'],
    ]
    for (const ck of shuffled(ordered)) await table.put(['p'], ck, JSON.stringify(ck))
    const found = await table.scan(['p'])
    assert.deepEqual(pluck(found, 'ck'), ordered)
    for (const { ck, value } of found) assert.equal(value, JSON.stringify(ck))
    assert.deepEqual(pluck(await table.scan(['p'], { reverse: true }), 'ck'), ordered.toReversed())
  })

  test('hosts, tables and partitions of any name do not touch each other', async t => {
    const store = await open(t)
    const names = TRICKY.slice(0, 8)
    const cells: { table: Table<string>; pk: Key; label: string }[] = []
    for (const host of names) {
      for (const name of names) {
        const table = store.table<string>(host, { name })
        for (const pk of [[], ['a'], ['a', 'b'], ['a\0sb'], ['a/'], [0]])
          cells.push({ table, pk, label: JSON.stringify([host, name, pk]) })
      }
    }
    await Promise.all(cells.map(({ table, pk, label }) => table.put(pk, ['k'], label)))
    for (const { table, pk, label } of cells) assert.deepEqual(await table.scan(pk), [{ ck: ['k'], value: label }])
    await cells[7]!.table.clear(cells[7]!.pk)
    for (const [i, { table, pk, label }] of cells.entries())
      assert.equal(await table.get(pk, ['k']), i === 7 ? undefined : label)
  })

  test('the boundary of partition and clustering key matters', async t => {
    const table = await strings(t, open)
    await table.put(['a'], ['b'], '1+1')
    await table.put(['a', 'b'], [], '2+0')
    await table.put([], ['a', 'b'], '0+2')
    assert.equal(await table.get(['a'], ['b']), '1+1')
    assert.equal(await table.get(['a', 'b']), '2+0')
    assert.deepEqual(await table.scan([]), [{ ck: ['a', 'b'], value: '0+2' }])
    assert.deepEqual(await table.scan(['a']), [{ ck: ['b'], value: '1+1' }])
  })

  test('unfit keys reject every method and change nothing', async t => {
    const table = await strings(t, open)
    const bad = ['\ud800']
    for (const call of [
      () => table.get(bad),
      () => table.put(bad, [], 'x'),
      () => table.put(['p'], [Infinity], 'x'),
      () => table.put(['p'], ['x'.repeat(20_000)], 'x'),
      () => table.putIfAbsent(['p'], bad, 'x'),
      () => table.del(['p'], bad),
      () => table.scan(['p'], { gte: bad }),
      () => table.scan(['p'], { limit: -1 }),
      () => table.scan(['p'], { limit: 0.5 }),
      () => table.clear(bad),
      () => table.partitions(bad),
    ]) {
      await assert.rejects(call, TypeError)
    }
    assert.deepEqual(await table.partitions(), [])
  })

  test('a row put and deleted at once in a unique table is gone, other rows are not', async t => {
    const store = await open(t)
    const table = store.table<string>(HOST, { name: 'queue', unique: true })
    await table.put(['p'], ['kept'], 'kept')
    await Promise.all([
      table.put(['p'], [1], 'x'),
      table.put(['p'], [2], 'y'),
      table.del(['p'], [1]),
      table.del(['p'], ['kept']),
    ])
    assert.deepEqual(await table.scan(['p']), [{ ck: [2], value: 'y' }])
  })
}
