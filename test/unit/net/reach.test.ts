import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isOwn, isPublic } from '../../../src/net/reach.ts'

test('only addresses of the public Internet are public', () => {
  for (const ip of ['1.1.1.1', '172.32.0.1', '100.128.0.1', '2a00:1450::1', '2606:4700::1', '::ffff:1.1.1.1']) {
    assert.ok(isPublic(ip), ip)
  }
  const others = [
    ...[
      '0.0.0.0',
      '10.1.2.3',
      '100.64.0.1',
      '127.0.0.1',
      '127.8.8.8',
      '169.254.169.254',
      '172.16.0.1',
      '172.31.255.255',
    ],
    ...[
      '192.0.0.8',
      '192.0.2.1',
      '192.168.1.1',
      '198.18.0.1',
      '224.0.0.1',
      '239.1.1.1',
      '240.0.0.1',
      '255.255.255.255',
    ],
    ...[
      '::',
      '::1',
      'fe80::1',
      'fe80::1%lo',
      'fc00::1',
      'fd12::1',
      'fec0::1',
      'ff02::1',
      '100::1',
      '2001:db8::1',
      '3fff::1',
    ],
    // IPv4 in other clothes.
    ...['::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:10.0.0.1', '::10.0.0.1', '2002:7f00:1::', '2001::7f00:1'],
    'no address',
  ]
  for (const ip of others) assert.ok(!isPublic(ip), ip)
})

test('behind a NAT64 translator an address is what is in it', () => {
  assert.ok(isPublic('64:ff9b::1.1.1.1'))
  assert.ok(!isPublic('64:ff9b::10.0.0.1'))
  assert.ok(!isPublic('64:ff9b::7f00:1'))
  assert.ok(!isPublic('64:ff9b:1::1.1.1.1'))
})

test('an address is our own where we listen on it, or on all', () => {
  const at = (ip: string) => [{ ip, port: 5269 }]
  assert.ok(isOwn('127.0.0.1', 5269, at('127.0.0.1')))
  assert.ok(!isOwn('127.0.0.1', 5270, at('127.0.0.1')))
  assert.ok(!isOwn('127.0.0.2', 5269, at('127.0.0.1')))
  for (const ip of ['127.0.0.2', '::1', '::ffff:127.0.0.1', '0.0.0.0', '::']) assert.ok(isOwn(ip, 5269, at('::')), ip)
  assert.ok(isOwn('127.0.0.2', 5269, at('0.0.0.0')))
  assert.ok(!isOwn('::1', 5269, at('0.0.0.0')))
  assert.ok(!isOwn('192.0.2.1', 5269, at('::')))
})
