/**
 * Whatever hostile users and strangers may send: `npm run test:fuzz -- [options]`.
 *
 *   --seed N         what chance draws (default: the clock; printed)
 *   --seconds N      how long (default 300)
 *   --batch N        only this one, to see again what it did
 *   --patience N     ms that an answer to a bystander may take (default 5000)
 *   --keep           keep the data folder and the log
 *   --peer           another server in place of users and strangers
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseArgs } from 'node:util'
import { campaign } from './campaign.ts'
import { peerCampaign } from './peers.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    seconds: { type: 'string', default: '300' },
    batch: { type: 'string' },
    patience: { type: 'string', default: '5000' },
    keep: { type: 'boolean', default: false },
    peer: { type: 'boolean', default: false },
  },
})

const options = {
  seed: Number(values.seed),
  duration: Number(values.seconds) * 1000,
  patience: Number(values.patience),
  keep: values.keep,
  ...(values.batch === undefined ? {} : { batch: Number(values.batch) }),
}
console.log(`seed ${values.seed}`)
await test(values.peer ? 'another server' : 'users and strangers', async t => {
  const { failures, ...figures } = await (values.peer ? peerCampaign(t, options) : campaign(options))
  console.log(figures)
  for (const failure of failures) console.error(`\n${failure}`)
  assert.equal(failures.length, 0)
})
