import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AccountChain, type AuthMethod, type PasswordSource } from '../../../src/auth/chain.ts'
import { BusyError } from '../../../src/auth/derive.ts'
import { Limit } from '../../../src/util/limit.ts'
import { accounts } from './support.ts'

class Fake implements PasswordSource {
  readonly name: string
  readonly passwords: Record<string, string>
  calls = 0
  fails = false

  constructor(name: string, passwords: Record<string, string> = {}) {
    this.name = name
    this.passwords = passwords
  }

  async check(user: string, password: string): Promise<boolean> {
    this.calls++
    if (this.fails) throw new Error('unreachable')
    return this.passwords[user] === password
  }
}

class Knowing extends Fake {
  asked = 0

  async exists(user: string): Promise<boolean> {
    this.asked++
    if (this.fails) throw new Error('unreachable')
    return this.passwords[user] !== undefined
  }
}

function chain(...methods: AuthMethod[]) {
  const { credentials } = accounts()
  const adopted: string[] = []
  const failed: string[] = []
  const clock = { now: 1000 }
  const made = new AccountChain({
    credentials,
    methods,
    adopted: user => void adopted.push(user),
    failed: (error, method) => void failed.push(`${method}: ${String(error)}`),
    now: () => clock.now,
  })
  return { chain: made, credentials, adopted, failed, clock }
}

test('one method is asked after the other, until one says yes', async () => {
  const one = new Fake('jwt', { juliet: 'one' })
  const two = new Fake('http', { juliet: 'two' })
  const { chain: accountChain, credentials } = chain(one, 'internal', two)
  await credentials.create('juliet', 'own')
  assert.equal(await accountChain.check('juliet', 'one'), 'vouched')
  assert.equal(two.calls, 0)
  assert.equal(await accountChain.check('juliet', 'own'), 'right')
  assert.equal(two.calls, 0)
  assert.equal(await accountChain.check('juliet', 'two'), 'vouched')
  assert.equal(await accountChain.check('juliet', 'three'), 'wrong')
  assert.equal(await accountChain.verify('juliet', 'two'), true)
  assert.equal(await accountChain.verify('juliet', 'three'), false)
})

test('an account that another source vouches for exists from then on, without a password of ours', async () => {
  const { chain: accountChain, credentials, adopted } = chain(new Fake('jwt', { juliet: 'token' }))
  assert.equal(await accountChain.exists('juliet'), false)
  await Promise.all([accountChain.check('juliet', 'token'), accountChain.check('juliet', 'token')])
  await accountChain.check('juliet', 'token')
  assert.deepEqual(adopted, ['juliet'], 'it is told once')
  assert.equal(await accountChain.exists('juliet'), true)
  assert.equal((await credentials.get('juliet'))?.source, 'jwt')
  assert.deepEqual(await accountChain.list(), ['juliet'])
  assert.equal((await credentials.scram('juliet', 'SHA-256')).real, false)
  await accountChain.disable('juliet', 'spam')
  assert.equal(await accountChain.check('juliet', 'token'), 'disabled')
  await accountChain.enable('juliet')
  assert.equal(await accountChain.check('juliet', 'token'), 'vouched')
  await accountChain.remove('juliet')
  assert.equal(await accountChain.exists('juliet'), false)
})

test('a method that cannot tell keeps none of the others from being asked; but its no is none', async () => {
  const broken = new Fake('http')
  broken.fails = true
  const { chain: accountChain, credentials, failed } = chain(broken, 'internal')
  await credentials.create('juliet', 'own')
  assert.equal(await accountChain.check('juliet', 'own'), 'right')
  await assert.rejects(accountChain.check('juliet', 'wrong'), /unreachable/)
  await assert.rejects(accountChain.verify('juliet', 'wrong'), /unreachable/)
  assert.deepEqual(
    failed,
    Array(3).fill('http: Error: unreachable'),
    'the operator learns of it even where another knew',
  )
})

test('a source that knows its accounts is asked for them, once for a name and not again for a while', async () => {
  const http = new Knowing('http', { juliet: 'x' })
  const { chain: accountChain, adopted, clock } = chain('internal', http)
  assert.deepEqual(await Promise.all([accountChain.exists('juliet'), accountChain.exists('juliet')]), [true, true])
  assert.equal(http.asked, 1)
  assert.deepEqual(adopted, ['juliet'])
  assert.equal(await accountChain.exists('juliet'), true)
  assert.equal(http.asked, 1)
  assert.equal(await accountChain.exists('romeo'), false)
  assert.equal(await accountChain.exists('romeo'), false)
  assert.equal(http.asked, 2)
  clock.now += 60_000
  assert.equal(await accountChain.exists('romeo'), false)
  assert.equal(http.asked, 3)
  http.fails = true
  await assert.rejects(async () => accountChain.exists('mercutio'), { name: 'StanzaError', type: 'wait' })
  http.fails = false
  assert.equal(await accountChain.exists('mercutio'), false, 'that it could not tell is not remembered')
})

test('names that strangers make up do not fill the memory', async () => {
  const http = new Knowing('http')
  const { chain: accountChain } = chain('internal', http)
  for (let i = 0; i < 10_050; i++) await accountChain.exists(`nobody${i}`)
  assert.equal(http.asked, 10_050)
  await accountChain.exists('nobody10049')
  assert.equal(http.asked, 10_050, 'the last is remembered')
  await accountChain.exists('nobody0')
  assert.equal(http.asked, 10_051, 'the first is not')
})

test('where accounts are kept elsewhere, none are made here', async () => {
  const { chain: accountChain } = chain(new Fake('jwt', { juliet: 'token' }))
  await assert.rejects(accountChain.create('romeo', 'secret'), { name: 'CredentialError' })
  await assert.rejects(accountChain.setPassword('juliet', 'secret'), { name: 'CredentialError' })
  const both = chain('internal', new Knowing('http', { juliet: 'x' })).chain
  assert.equal(await both.create('romeo', 'secret'), true)
  assert.equal(await both.create('juliet', 'secret'), false, 'the name is taken, elsewhere')
})

test('so much at a time, so much that waits, and no more', async () => {
  const limit = new Limit(2, 3, () => new BusyError())
  const gate = Promise.withResolvers<void>()
  let running = 0
  let most = 0
  const work = async (): Promise<void> => {
    running++
    most = Math.max(most, running)
    await gate.promise
    running--
  }
  const all = [1, 2, 3, 4, 5].map(() => limit.run(work))
  await assert.rejects(limit.run(work), BusyError)
  gate.resolve()
  await Promise.all(all)
  assert.equal(most, 2)
  await limit.run(async () => {})
  await assert.rejects(
    limit.run(() => Promise.reject(new Error('no'))),
    /no/,
  )
  await Promise.all([1, 2, 3, 4, 5].map(() => limit.run(async () => {})))
})

test('an account that a source vouches for gets no password of ours beside it', async () => {
  const http = new Fake('http', { juliet: 'theirs' })
  const { chain: accountChain, credentials } = chain('internal', http)
  assert.equal(await accountChain.check('juliet', 'theirs'), 'vouched')
  await assert.rejects(accountChain.setPassword('juliet', 'for ever'), { name: 'CredentialError' })
  assert.equal(await credentials.check('juliet', 'for ever'), 'wrong')
  await credentials.create('romeo', 'old')
  assert.equal(await accountChain.setPassword('romeo', 'new'), true)
  accountChain.methods = ['internal'] // the source is gone: an account that it left may be taken over
  assert.equal(await accountChain.setPassword('juliet', 'ours'), true)
})
