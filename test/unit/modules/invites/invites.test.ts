import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Host } from '../../../../src/core/host.ts'
import type { ModuleContext } from '../../../../src/core/module.ts'
import { Invites } from '../../../../src/modules/invites/invites.ts'
import { openMemoryStore } from '../../../../src/storage/memory.ts'
import type { Table } from '../../../../src/storage/store.ts'
import { IdGenerator } from '../../../../src/util/ids.ts'

/** Invitations in a store whose next read, once `hold` was called, is answered late: with what was there when it was asked. */
function setting() {
  const store = openMemoryStore()
  let held: Promise<void> | undefined
  const slow = (table: Table<unknown>): Table<unknown> => {
    const get: Table<unknown>['get'] = async (pk, ck) => {
      const wait = held
      held = undefined
      const value = await table.get(pk, ck)
      await wait
      return value
    }
    return new Proxy(table, {
      get: (target, name) => {
        if (name === 'get') return get
        const member: unknown = Reflect.get(target, name)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
  }
  const host = { ids: new IdGenerator(), users: { exists: () => true, isDisabled: () => false } }
  const ctx = {
    host: host as unknown as Host,
    now: () => 0,
    table: (spec: { name: string }) => slow(store.table('localhost', spec)),
  } as unknown as ModuleContext
  const hold = (): (() => void) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    held = promise
    return resolve
  }
  return { invites: new Invites(ctx, 1000), hold }
}

const settled = () => new Promise(resolve => setImmediate(resolve))

test('who claims an invitation while its last use is being noted comes too late', async () => {
  const { invites, hold } = setting()
  const token = await invites.create({ type: 'account_only' })
  assert.ok(await invites.claim(token))
  const answer = hold()
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
