import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Connector } from '../../../src/s2s/connector.ts'
import type { Dial } from '../../../src/s2s/dial.ts'
import { PeerError } from '../../../src/s2s/peererror.ts'
import type { S2SServer } from '../../../src/s2s/server.ts'

/** Attempts that hang until they are ended. */
function hanging() {
  const open = new Map<string, (error: Error) => void>()
  const dial = {
    reach: (domain: string) => new Promise<never>((_, reject) => open.set(domain, reject)),
  } as unknown as Dial
  const server = { settings: { allows: () => true, connectTimeout: 30_000 } } as unknown as S2SServer
  const connector = new Connector(dial, server)
  const { signal } = new AbortController()
  const failures = new Map<string, unknown>()
  const connect = (remote: string): void => {
    connector.connect({ local: 'a.example', remote }, undefined, signal).catch(error => failures.set(remote, error))
  }
  const end = (domain: string): void => {
    open.get(domain)!(new PeerError('remote-server-timeout', 'nobody answers'))
    open.delete(domain)
  }
  return { open, failures, connect, end }
}

test('who writes to very many names of one zone has few of them tried at a time, and keeps nobody else waiting', async () => {
  const { open, failures, connect, end } = hanging()
  for (let i = 0; i < 1000; i++) connect(`${i}.tarpit.example`)
  connect('other.example')
  await setImmediate()
  assert.equal([...open.keys()].filter(name => name.endsWith('.tarpit.example')).length, 12)
  assert.ok(open.has('other.example'))
  // Of the rest so many wait; what is beyond is told, and tried later.
  assert.equal(failures.size, 1000 - 12 - 50)
  for (const error of failures.values()) assert.equal((error as PeerError).condition, 'remote-server-timeout')
  end('0.tarpit.example')
  await setImmediate()
  assert.ok(open.has('12.tarpit.example'))
})

test('addresses are all of one zone; and all that is tried at a time is bounded', async () => {
  const { open, failures, connect } = hanging()
  for (let i = 1; i <= 100; i++) connect(`192.0.2.${i}`)
  await setImmediate()
  assert.equal(open.size, 12)
  for (let i = 0; i < 2000; i++) connect(`x.domain${i}.example`.replace('.example', i % 2 ? '.com' : '.org'))
  await setImmediate()
  assert.equal(open.size, 500)
  assert.equal(failures.size, 100 - 62 + 2000 - (500 - 12) - 1000)
})
