import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConnectionCounter } from '../../../src/net/connections.ts'
import { ipv6Groups, networkOf, plainAddress } from '../../../src/util/address.ts'

test('an address has one form', () => {
  const forms: [string | undefined, string][] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8::', '2001:db8::'],
    ['fe80::1%eth0', 'fe80::1'],
    ['::1', '::1'],
    ['::', '::'],
    ['', 'unknown'],
    ['example.org', 'unknown'],
    ['192.0.2.256', 'unknown'],
    [undefined, 'unknown'],
  ]
  for (const [given, wanted] of forms) assert.equal(plainAddress(given), wanted, String(given))
})

test('the groups of an IPv6 address', () => {
  assert.deepEqual(ipv6Groups('::'), [0, 0, 0, 0, 0, 0, 0, 0])
  assert.deepEqual(ipv6Groups('::1'), [0, 0, 0, 0, 0, 0, 0, 1])
  assert.deepEqual(ipv6Groups('2001:db8::'), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0])
  assert.deepEqual(ipv6Groups('1:2:3:4:5:6:7:8'), [1, 2, 3, 4, 5, 6, 7, 8])
  assert.deepEqual(ipv6Groups('1::7:8'), [1, 0, 0, 0, 0, 0, 7, 8])
  assert.deepEqual(ipv6Groups('64:ff9b::192.0.2.1'), [0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x201])
})

test('a network is an IPv4 address or an IPv6 /64', () => {
  assert.equal(networkOf('::ffff:192.0.2.1'), networkOf('192.0.2.1'))
  assert.notEqual(networkOf('192.0.2.1'), networkOf('192.0.2.2'))
  assert.equal(networkOf('2001:db8::1'), networkOf('2001:db8:0:0:ffff:ffff:ffff:ffff'))
  assert.equal(networkOf('2001:db8:0:1::'), '2001:db8:0:1::/64')
  assert.notEqual(networkOf('2001:db8:0:1::1'), networkOf('2001:db8::1'))
})

test('the limit holds per network and counts again what has left', () => {
  const counter = new ConnectionCounter(2)
  assert.ok(counter.enter('2001:db8::1'))
  assert.ok(counter.enter('2001:db8::2'))
  assert.equal(counter.enter('2001:db8::3'), false)
  assert.ok(counter.enter('2001:db8:0:1::1'))
  assert.ok(counter.enter('192.0.2.1'))
  assert.ok(counter.enter('::ffff:192.0.2.1'))
  assert.equal(counter.enter('192.0.2.1'), false)
  counter.leave('2001:db8::1')
  assert.ok(counter.enter('2001:db8::9'))
  assert.equal(counter.enter('2001:db8::9'), false)
  counter.limit = 3
  assert.ok(counter.enter('2001:db8::9'))
})

test('refused connections and unmatched leaves count nothing', () => {
  const counter = new ConnectionCounter(1)
  counter.leave('192.0.2.1')
  assert.equal(counter.size, 0)
  assert.ok(counter.enter('192.0.2.1'))
  for (let i = 0; i < 10; i++) assert.equal(counter.enter('192.0.2.1'), false)
  counter.leave('192.0.2.1')
  counter.leave('192.0.2.1')
  assert.equal(counter.size, 0)
  assert.ok(counter.enter('192.0.2.1'))
  assert.equal(counter.enter('192.0.2.1'), false)
})

test('100,000 connections come and go and leave nothing', () => {
  const counter = new ConnectionCounter(Number.POSITIVE_INFINITY)
  const address = (i: number): string =>
    i % 2 === 0 ? `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` : `2001:db8:${(i % 5000).toString(16)}::${i % 7}`
  const open: string[] = []
  for (let i = 0; i < 100_000; i++) {
    const ip = address(i)
    assert.ok(counter.enter(ip))
    open.push(ip)
    if (open.length > 1000) counter.leave(open.shift())
    assert.ok(counter.size <= open.length)
  }
  assert.ok(counter.size > 500)
  for (const ip of open) counter.leave(ip)
  assert.equal(counter.size, 0)
})
