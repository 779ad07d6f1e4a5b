import assert from 'node:assert/strict'
import { test } from 'node:test'
import { networkOf, plainAddress } from '../../../src/util/address.ts'

test('an address has one form', () => {
  assert.equal(plainAddress('::FFFF:c000:201'), '192.0.2.1')
  assert.equal(plainAddress('2001:DB8:0:0:0:0:0:1'), '2001:db8::1')
  assert.equal(plainAddress('fe80::1%eth0'), 'fe80::1')
  assert.equal(plainAddress('example.org'), 'unknown')
})

test('a network is an IPv4 address or an IPv6 /64', () => {
  assert.equal(networkOf('::ffff:192.0.2.1'), '192.0.2.1')
  assert.equal(networkOf('2001:db8::1'), networkOf('2001:db8:0:0:ffff:ffff:ffff:ffff'))
  assert.notEqual(networkOf('2001:db8:0:1::1'), networkOf('2001:db8::1'))
})
