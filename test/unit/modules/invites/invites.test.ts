import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Host } from '../../../../src/core/host.ts'
import type { ModuleContext } from '../../../../src/core/module.ts'
import { Invites } from '../../../../src/modules/invites/invites.ts'
import { IdGenerator } from '../../../../src/util/ids.ts'
import { faultyStore } from '../../../support/faultystore.ts'
import { settled } from '../../../support/waiting.ts'

/** Invitations in a store that can be slow. */
function setting() {
  const { store, troubles } = faultyStore()
  const host = { ids: new IdGenerator(), users: { exists: () => true, isDisabled: () => false } }
  const ctx = {
    host: host as unknown as Host,
    now: () => 0,
    table: (spec: { name: string }) => store.table('localhost', spec),
    commit: store.commit.bind(store),
  } as unknown as ModuleContext
  return { invites: new Invites(ctx, 1000), troubles }
}

test('who claims an invitation while its last use is being noted comes too late', async () => {
  const { invites, troubles } = setting()
  const token = await invites.create({ type: 'account_only' })
  assert.ok(await invites.claim(token))
  const answer = troubles.reads.holdNext()
  const late = invites.claim(token)
  const used = invites.use(token)
  await settled()
  answer()
  await used
  assert.equal(await late, undefined)
})

test('as many claims at once as there are uses', async () => {
  const { invites } = setting()
  const token = await invites.create({ type: 'account_only', uses: 2 })
  const claims = await Promise.all([1, 2, 3].map(() => invites.claim(token)))
  assert.deepEqual(
    claims.map(claim => claim !== undefined),
    [true, true, false],
  )
  invites.release(token)
  assert.ok(await invites.claim(token)) // what was not used is there for others
  await Promise.all([invites.use(token), invites.use(token)])
  assert.equal(await invites.claim(token), undefined)
})
