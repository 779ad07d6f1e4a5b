import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SEED } from '../support/chance.ts'
import { campaign } from './campaign.ts'
import { peerCampaign } from './peers.ts'

test('whatever users and strangers send, a bystander is served, and the server fails in nothing', async t => {
  t.diagnostic(`seed ${SEED}: npm run test:fuzz -- --seed ${SEED}`)
  const { failures, batches, elements, connections, slowest } = await campaign({
    seed: SEED,
    duration: 12_000,
    patience: 8000,
  })
  t.diagnostic(
    `${elements} elements in ${batches} batches over ${connections} connections; slowest answer ${Math.round(slowest)} ms`,
  )
  assert.deepEqual(failures, [], `seed ${SEED}`)
  assert.ok(batches > 50, 'it got somewhere')
})

test('whatever another server sends, users here are served and keep what is theirs, and the server fails in nothing', async t => {
  t.diagnostic(`seed ${SEED}: npm run test:fuzz -- --peer --seed ${SEED}`)
  const { failures, batches, elements, answers, connections } = await peerCampaign(t, {
    seed: SEED,
    duration: 8000,
    patience: 8000,
  })
  t.diagnostic(`${elements} elements in ${batches} batches over ${connections} streams, ${answers} stanzas came back`)
  assert.deepEqual(failures, [], `seed ${SEED}`)
  assert.ok(batches > 50 && answers > 20, 'it got somewhere')
})
