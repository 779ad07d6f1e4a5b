import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decoderProblem } from '../../../../src/modules/avatar/images.ts'

test('whether pictures can be decoded is known without loading what decodes them', () => {
  assert.equal(decoderProblem(), undefined)
  assert.match(decoderProblem(() => undefined)!, /no library sharp: install it/)
  const without = (module: string) => (module === 'sharp' ? '/x/sharp/index.js' : undefined)
  assert.match(decoderProblem(without)!, new RegExp(`needs on ${process.platform} ${process.arch}: install it`))
})
