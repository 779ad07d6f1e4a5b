import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { test } from 'node:test'
import type { Dialled, Dialler } from '../../../src/net/dial.ts'
import { DialError } from '../../../src/net/targets.ts'
import { Flusher } from '../../../src/net/transport.ts'
import { Dial } from '../../../src/s2s/dial.ts'
import { PeerError } from '../../../src/s2s/peererror.ts'

/** Two servers, and then no more. */
function dialling() {
  const sockets = [new Socket(), new Socket()]
  const dialler = {
    async *connect(domain: string): AsyncGenerator<Dialled, never, void> {
      for (const [i, socket] of sockets.entries()) {
        yield { socket, direct: i === 0, host: `s${i}.example`, peer: { ip: '192.0.2.1', port: 5269 + i } }
      }
      throw new DialError('remote-server-timeout', `${domain}: no more servers`)
    },
  }
  return { dial: new Dial(() => dialler as unknown as Dialler, new Flusher()), sockets }
}

const refused = (text: string) => ({ done: Promise.reject(new PeerError('forbidden', text)), abandon() {} })

test('each server is tried, and it is told of each why it would not do', async () => {
  const { dial } = dialling()
  const tried: string[] = []
  const attempt = dial.reach('a.example', 5000, (_, { place, direct }) => {
    tried.push(`${place} ${direct}`)
    return refused(`no ${tried.length}`)
  })
  await assert.rejects(attempt, { name: 'PeerError', condition: 'forbidden', text: 'no 1; no 2' })
  assert.deepEqual(tried, ['s0.example, 192.0.2.1:5269 true', 's1.example, 192.0.2.1:5270 false'])
})

test('what is not the fault of a server ends the attempt, and the connection', async () => {
  for (const attempt of [
    () => {
      throw new Error('ours')
    },
    () => ({ done: Promise.reject(new Error('ours')), abandon() {} }),
  ]) {
    const { dial, sockets } = dialling()
    await assert.rejects(dial.reach('a.example', 5000, attempt), /ours/)
    assert.deepEqual(
      sockets.map(({ destroyed }) => destroyed),
      [true, false],
    )
  }
})

test('who is no longer wanted is abandoned, and no other is tried', async () => {
  const { dial } = dialling()
  const gone = new AbortController()
  let tries = 0
  const attempt = dial.reach(
    'a.example',
    5000,
    () => {
      tries++
      const { promise, reject } = Promise.withResolvers<never>()
      return { done: promise, abandon: () => reject(new PeerError('remote-server-timeout', 'abandoned')) }
    },
    gone.signal,
  )
  await null
  gone.abort(new Error('no longer'))
  await assert.rejects(attempt, /no longer/)
  assert.equal(tries, 1)
})
