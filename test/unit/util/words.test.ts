import assert from 'node:assert/strict'
import { test } from 'node:test'
import { containsWords } from '../../../src/util/words.ts'

test('words are found in any case, wherever they stand in a long text', () => {
  const filler = 'ab€😀'.repeat(2000)
  for (const word of ['needle', 'Straße', 'ΟΔΥΣΣΕΥΣ', '😀x', 'İstanbul', 'x'.repeat(9000)]) {
    for (const length of [0, 1, 2, 3, 16_380, 16_384, 16_390, 20_000]) {
      const text = Buffer.concat([Buffer.from('a'.repeat(length)), Buffer.from(` ${word} ${filler}`)])
      assert.ok(containsWords(text, [word.toLowerCase()]), `${word.slice(0, 10)} at ${length}`)
      assert.ok(containsWords(text, [word.toLowerCase(), 'ab€']), `${word.slice(0, 10)} at ${length}`)
      assert.ok(!containsWords(text, [word.toLowerCase(), 'hay']))
    }
  }
  assert.ok(containsWords(Buffer.from('any'), []))
  assert.ok(!containsWords(Buffer.alloc(0), ['any']))
})

test('all of a text is looked at, byte by byte', () => {
  for (let at = 16_300; at < 16_500; at++) {
    const text = Buffer.from(`${'é'.repeat(at / 2)}${' '.repeat(at % 2)}ΣΟΣ ${'z'.repeat(40_000)}`)
    assert.ok(containsWords(text, ['ΣΟΣ'.toLowerCase()]), String(at))
  }
})
