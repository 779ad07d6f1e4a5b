import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PreLoginBudget, type Share } from '../../../src/net/prelogin.ts'

const KIB = 1024

function budget(limit: number) {
  let now = 0
  const made = new PreLoginBudget(
    limit,
    () => now,
    below => below - 1, // the newest of equals
  )
  const refused: string[] = []
  const enter = (name: string, ip = '192.0.2.1', size = 10 * KIB): Share =>
    made.enter(ip, size, () => refused.push(name))
  return { made, refused, enter, wait: (ms: number) => (now += ms) }
}

test('the greediest goes first, however long the others have been there', () => {
  const { made, refused, enter, wait } = budget(200 * KIB)
  const old = enter('old')
  wait(60_000)
  const [one, two] = [enter('one', '192.0.2.2'), enter('two', '192.0.2.3')]
  made.hold(old, 16 * KIB)
  made.hold(one, 40 * KIB)
  made.hold(two, 50 * KIB)
  assert.deepEqual(refused, [])
  made.hold(one, 110 * KIB)
  assert.deepEqual(refused, ['one'])
  assert.equal(made.held, 10 * KIB + 16 * KIB + 60 * KIB)
})

test('then who had time to log in, then the crowd, then any of them', () => {
  const { refused, enter, wait } = budget(50 * KIB)
  enter('slow', '192.0.2.9')
  wait(5000)
  enter('first', '192.0.2.1')
  enter('second', '192.0.2.1')
  enter('other', '192.0.2.2')
  enter('third', '192.0.2.3')
  enter('fourth', '192.0.2.4')
  assert.deepEqual(refused, ['slow'])
  enter('fifth', '192.0.2.5')
  assert.deepEqual(refused, ['slow', 'second'])
  enter('sixth', '192.0.2.6')
  assert.deepEqual(refused, ['slow', 'second', 'sixth'])
})

test('what one holds is given back once, whoever says so', () => {
  const { made, refused, enter } = budget(100 * KIB)
  const share = enter('one')
  made.hold(share, 30 * KIB)
  made.connection(share, 20 * KIB)
  assert.equal(made.held, 50 * KIB)
  made.leave(share)
  made.leave(share)
  made.hold(share, 10 * KIB)
  made.connection(share, 10 * KIB)
  assert.deepEqual([made.held, made.size, refused], [0, 0, []])
})

test('one that is too much for the budget alone is refused at once', () => {
  const { made, refused, enter } = budget(5 * KIB)
  enter('one')
  assert.deepEqual([refused, made.held], [['one'], 0])
})

test('a crowd from everywhere that comes again and again does not keep out who needs a moment to log in', () => {
  let now = 0
  const made = new PreLoginBudget(1000 * KIB, () => now)
  let refused = 0
  const crowd = (from: number): void => {
    for (let i = 0; i < 20; i++) made.enter(`10.${from % 256}.${(from >> 8) % 256}.${i}`, 10 * KIB, () => {})
  }
  for (let round = 0; round < 200; round++) {
    for (let i = 0; i < 5; i++) crowd(round * 5 + i) // a full budget of them
    now += 100
    const share = made.enter(`192.0.2.${round % 250}`, 10 * KIB, () => refused++)
    crowd(round * 5 + 4000) // while it logs in
    made.leave(share)
  }
  assert.ok(refused < 100, `${refused} of 200 were refused`)
})
