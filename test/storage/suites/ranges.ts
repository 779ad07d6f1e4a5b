import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Key, pages, type Range } from '../../../src/storage/store.ts'
import { encodeTuple } from '../../../src/util/tuple.ts'
import { pluck } from '../../support/pluck.ts'
import { HOST, keysOf, numbers, type Open, shuffled, strings, TRICKY } from './support.ts'

export function ranges(open: Open): void {
  // Every pair of bounds over keys with prefixes, against a filter written from the words of the contract.
  test('every combination of bounds', async t => {
    const table = await strings(t, open)
    const keys: Key[] = [
      [],
      [0],
      [1],
      [1, 'a'],
      [1, 'b'],
      [2],
      ['a'],
      ['a', 1],
      ['a', 2],
      ['ab'],
      ['b', 'x'],
      ['é'],
      ['😀'],
    ]
    for (const ck of shuffled(keys)) await table.put(['p'], ck, JSON.stringify(ck))
    await table.put(['o'], [1], 'other partition')
    await table.put(['p', 'x'], [1], 'other partition')
    const limits: (Key | undefined)[] = [undefined, [], [0.5], [1], [1, 'aa'], ['a'], ['b'], ['\uffff'], ['😀', 0]]
    for (const low of limits) {
      for (const high of limits) {
        for (const lows of [{ gt: low }, { gte: low }]) {
          for (const highs of [{ lt: high }, { lte: high }]) {
            const range = { ...lows, ...highs }
            const expected = keys.filter(ck => within(ck, range))
            const label = JSON.stringify(range)
            assert.deepEqual(
              (await table.scan(['p'], range)).map(row => row.ck),
              expected,
              label,
            )
            const last = (await table.scan(['p'], { ...range, reverse: true, limit: 2 })).map(row => row.ck)
            assert.deepEqual(last, expected.toReversed().slice(0, 2), `${label}, reverse`)
          }
        }
      }
    }
  })

  test('both bounds of one side: the tighter one counts', async t => {
    const table = await numbers(t, open, 10)
    assert.deepEqual(keysOf(await table.scan(['p'], { gt: [3], gte: [2], lt: [8], lte: [6] })), [4, 5, 6])
    assert.deepEqual(keysOf(await table.scan(['p'], { gt: [3], gte: [5], lt: [6], lte: [8] })), [5])
  })

  test('limit', async t => {
    const table = await numbers(t, open, 10)
    assert.deepEqual(keysOf(await table.scan(['p'], { limit: 3 })), [0, 1, 2])
    assert.deepEqual(keysOf(await table.scan(['p'], { limit: 3, reverse: true })), [9, 8, 7])
    assert.deepEqual(keysOf(await table.scan(['p'], { limit: 0 })), [])
    assert.equal((await table.scan(['p'], { limit: 100 })).length, 10)
    assert.deepEqual(keysOf(await table.scan(['p'], { gt: [7], lt: [3] })), [])
  })

  test('bytes: a scan ends with the row that reaches them', async t => {
    const table = (await open(t)).table<Buffer>(HOST, { name: 'b', codec: 'bytes' })
    for (let i = 0; i < 6; i++) await table.put(['p'], [i], Buffer.alloc(i === 3 ? 5000 : 1000, i))
    const keys = async (range: Range): Promise<Key[]> => (await table.scan(['p'], range)).map(row => row.ck)
    assert.deepEqual(await keys({ bytes: 1 }), [[0]])
    assert.deepEqual(await keys({ bytes: 2500 }), [[0], [1], [2]])
    assert.deepEqual(await keys({ bytes: 2500, limit: 2 }), [[0], [1]])
    assert.deepEqual(await keys({ bytes: 2500, gt: [2] }), [[3]])
    assert.deepEqual(await keys({ bytes: 2500, reverse: true }), [[5], [4], [3]])
    assert.equal((await keys({ bytes: 100_000 })).length, 6)
    assert.equal((await table.scan(['p'], { bytes: 2500, gt: [2] }))[0]!.value.length, 5000)
    await assert.rejects(table.scan(['p'], { bytes: 0 }), TypeError)
  })

  test('bytes of JSON, in portions that an engine reads at a time and beyond', async t => {
    const table = await strings(t, open)
    const text = 'x'.repeat(300_000)
    for (let i = 0; i < 12; i++) await table.put(['p'], [i], text)
    assert.equal((await table.scan(['p'], { bytes: 1_000_000 })).length, 4)
    assert.equal((await table.scan(['p'], { bytes: 2_500_000 })).length, 9)
    assert.equal((await table.scan(['p'], { bytes: 1_000_000, reverse: true })).length, 4)
  })

  test('keys without values', async t => {
    const table = await numbers(t, open, 10)
    assert.deepEqual(await table.keys(['p'], { gt: [2], limit: 3 }), [[3], [4], [5]])
    assert.deepEqual(await table.keys(['p'], { gt: [2], limit: 3, reverse: true }), [[9], [8], [7]])
    assert.equal((await table.keys(['p'])).length, 10)
    assert.deepEqual(await table.keys(['nothing']), [])
  })

  test('pages go through all rows, so many and so large at a time', async t => {
    const table = await numbers(t, open, 2500)
    const read = async (range: Range): Promise<number[][]> => {
      const all: number[][] = []
      for await (const page of pages(table, ['p'], range)) all.push(keysOf(page))
      return all
    }
    const forwards = await read({ gt: [3], lte: [2400], limit: 700 })
    assert.deepEqual(pluck(forwards, 'length'), [700, 700, 700, 297])
    assert.deepEqual(
      forwards.flat(),
      Array.from({ length: 2397 }, (_, i) => i + 4),
    )
    const backwards = await read({ reverse: true, bytes: 3000, limit: 1000 })
    assert.ok(backwards.every(page => page.length <= 1000))
    assert.ok(backwards.length > 3)
    assert.deepEqual(
      backwards.flat(),
      Array.from({ length: 2500 }, (_, i) => 2499 - i),
    )
    assert.deepEqual(await read({ gt: [5000] }), [])
  })

  test('pages: each begins after the last key of the one before', async t => {
    const table = await numbers(t, open, 2500)
    const seen: number[] = []
    for (let after: Key | undefined; ; ) {
      const page = await table.scan(['p'], { gt: after, limit: 700 })
      if (page.length === 0) break
      seen.push(...keysOf(page))
      after = page.at(-1)!.ck
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 2500 }, (_, i) => i),
    )
    assert.equal((await table.scan(['p'])).length, 2500)
  })

  test('clear takes a range, the first or last so many of it, or the partition', async t => {
    const table = await numbers(t, open, 2500)
    await table.put(['q'], [1], '1')
    await table.clear(['p'], { gte: [10], lt: [2490] })
    assert.deepEqual(
      keysOf(await table.scan(['p'])),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 2490, 2491, 2492, 2493, 2494, 2495, 2496, 2497, 2498, 2499],
    )
    await table.clear(['p'], { limit: 8 })
    await table.clear(['p'], { limit: 8, reverse: true })
    assert.deepEqual(keysOf(await table.scan(['p'])), [8, 9, 2490, 2491])
    await table.clear(['p'])
    assert.deepEqual(await table.scan(['p']), [])
    await table.clear(['p'])
    assert.deepEqual(await table.partitions(), [['q']])
  })

  test('partitions in pages, each once, none that is empty', async t => {
    const table = await strings(t, open)
    const keys: Key[] = [[], [-1], [7], ...TRICKY.map(name => [name]), ['a', 1], ['a', 'b']]
    for (const pk of shuffled(keys)) for (const ck of [1, 2, 3]) await table.put(pk, [ck], '')
    await table.put(['gone'], [1], '')
    await table.del(['gone'], [1])
    const all = await table.partitions()
    const ordered = (list: readonly Key[]) => list.toSorted((a, b) => (encodeTuple(a) < encodeTuple(b) ? -1 : 1))
    assert.deepEqual(ordered(all), ordered(keys))
    const paged: Key[] = []
    for (let after: Key | undefined; ; ) {
      const page = await table.partitions(after, 3)
      paged.push(...page)
      if (page.length < 3) break
      after = page.at(-1)
    }
    assert.deepEqual(paged, all)
    assert.deepEqual(await table.partitions(undefined, 0), [])
  })
}

function within(ck: Key, { gt, gte, lt, lte }: Range): boolean {
  const place = (bound: Key): number => {
    const head = encodeTuple(ck.slice(0, bound.length))
    const text = encodeTuple(bound)
    return head < text ? -1 : head > text ? 1 : 0
  }
  // A bound covers its extensions: only as many parts as it has are compared. A key shorter than the bound is below.
  if (gt && place(gt) <= 0) return false
  if (gte && place(gte) < 0) return false
  if (lt && place(lt) >= 0) return false
  return !(lte && place(lte) > 0)
}
