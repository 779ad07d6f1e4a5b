import assert from 'node:assert/strict'
import { test } from 'node:test'
import { campaign } from './campaign.ts'

test('whatever users and strangers send, a bystander is served, and the server fails in nothing', async t => {
  const seed = Date.now() % 1_000_000
  t.diagnostic(`seed ${seed}: npm run test:fuzz -- --seed ${seed}`)
  const { failures, batches, elements, connections, slowest } = await campaign({
    seed,
    duration: 12_000,
    patience: 8000,
  })
  t.diagnostic(
    `${elements} elements in ${batches} batches over ${connections} connections; slowest answer ${Math.round(slowest)} ms`,
  )
  assert.deepEqual(failures, [], `seed ${seed}`)
  assert.ok(batches > 50, 'it got somewhere')
})
