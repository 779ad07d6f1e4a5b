import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Account } from '../../../src/core/account.ts'
import { type Surroundings, startModule } from '../../../src/core/context.ts'
import type { Host } from '../../../src/core/host.ts'
import { defineModule } from '../../../src/core/module.ts'
import { Slot } from '../../../src/core/session.ts'
import { faultyStore } from '../../support/faultystore.ts'
import { host, listening, silent } from './support.ts'

const NOTE = new Slot<string>('note')

/** Runs a module that keeps with each account what `load` gives, and hands over what `perAccount` gave back. */
async function keeping(at: Host, load: (account: Account) => Promise<string | undefined>) {
  let read: ((account: Account) => Promise<void>) | undefined
  const module = defineModule({
    name: 'mod_notes',
    summary: 'Keeps notes.',
    options: {},
    async start(ctx) {
      read = await ctx.perAccount(NOTE, load)
    },
  })
  const running = await startModule(module, {}, at, { log: silent } as Surroundings)
  return { running, read: read! }
}

test('a module that starts late knows of accounts in memory, of those on their way, and of those that come', async () => {
  const at = host()
  const juliet = (await at.account('juliet'))!
  const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  at.hooks.add('test', 'account_load', ({ account }) => {
    if (account.user !== 'late') return
    reached.resolve()
    return gate.promise
  })
  const coming = at.account('late')
  // Whoever listens from now on does not hear of this one.
  await reached.promise
  const starting = keeping(at, ({ user }) => Promise.resolve(`of ${user}`))
  gate.resolve()
  const { running } = await starting
  const romeo = (await at.account('romeo'))!
  const late = (await coming)!
  assert.deepEqual(
    [juliet, late, romeo].map(({ slots }) => slots.get(NOTE)),
    ['of juliet', 'of late', 'of romeo'],
  )
  await running.stop()
  assert.equal((await at.account('tybalt'))!.slots.get(NOTE), undefined)
})

test('what was put there meanwhile stays, and what could not be read is read again when it is asked for', async () => {
  const at = host()
  const juliet = (await at.account('juliet'))!
  let broken = true
  const { read } = await keeping(at, async ({ user, slots }) => {
    if (user === 'juliet') slots.set(NOTE, 'newer')
    if (user === 'romeo' && broken) throw new Error('broken')
    return 'older'
  })
  assert.equal(juliet.slots.get(NOTE), 'newer')
  const romeo = (await at.account('romeo'))!
  assert.equal(romeo.slots.get(NOTE), undefined)
  broken = false
  await read(romeo)
  assert.equal(romeo.slots.get(NOTE), 'older')
})

test('an account is not removed before all rows of its own are', async () => {
  const { store, troubles } = faultyStore()
  const at = host({ store })
  const notes = store.table<string>('example.org', { name: 'notes' })
  const module = defineModule({
    name: 'mod_notes',
    summary: 'Keeps notes.',
    options: {},
    start: ctx => void ctx.userTable({ name: 'notes' }),
  })
  await startModule(module, {}, at, { log: silent } as Surroundings)
  for (const user of ['juliet', 'romeo']) for (const id of ['1', '2']) await notes.put([user], [id], 'a note')
  troubles.failDeletes = true
  await assert.rejects(at.removeAccount('juliet'))
  assert.ok((await at.nameKept('juliet')) !== undefined)
  troubles.failDeletes = false
  await at.removeAccount('juliet')
  assert.deepEqual(await notes.partitions(), [['romeo']])
  assert.equal(await at.nameKept('juliet'), undefined)
})

test('work that nobody waits for says in the log that it failed', async () => {
  const { log, lines } = listening()
  const module = defineModule({
    name: 'mod_work',
    summary: 'Works.',
    options: {},
    async start(ctx) {
      await ctx.aside(Promise.resolve(1), 'that could not be done')
      await ctx.aside(Promise.reject(new Error('broken')), 'this could not be done', { user: 'juliet' })
    },
  })
  await startModule(module, {}, host(), { log } as Surroundings)
  assert.deepEqual(
    lines.map(({ msg, module, user }) => [msg, module, user]),
    [['this could not be done', 'mod_work', 'juliet']],
  )
})
