import assert from 'node:assert/strict'
import { test } from 'node:test'
import { within } from '../../../src/util/within.ts'

test('ends when the work does, when it fails, or when the time is up', async () => {
  await within(60_000, Promise.resolve('done'))
  await assert.rejects(within(60_000, Promise.reject(new Error('no'))), /no/)
  await within(1, new Promise(() => {}))
})
