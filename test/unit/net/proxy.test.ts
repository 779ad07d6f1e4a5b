import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProxyError, ProxyHeader, type ProxyResult } from '../../../src/net/proxy.ts'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

function v2(versionCommand: number, family: number, body: Buffer, length = body.length): Buffer {
  return Buffer.concat([SIGNATURE, Buffer.from([versionCommand, family, length >> 8, length & 255]), body])
}

const IPV4 = Buffer.from([192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0x14, 0x66])
const IPV6 = Buffer.from(`20010db8${'00'.repeat(11)}01${'20010db8'}${'00'.repeat(11)}02${'3039'}${'1466'}`, 'hex')
const MAPPED = Buffer.from(`${'00'.repeat(10)}ffffc0000201${'00'.repeat(10)}ffffc0000202${'3039'}${'1466'}`, 'hex')
const tlvs = (size: number): Buffer => Buffer.alloc(size, 4)

const good: [string, Buffer, ProxyResult['source']][] = [
  ['v1 TCP4', Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.2 12345 5222\r\n'), { ip: '192.0.2.1', port: 12_345 }],
  ['v1 TCP6', Buffer.from('PROXY TCP6 2001:DB8:0::1 2001:db8::2 0 65535\r\n'), { ip: '2001:db8::1', port: 0 }],
  ['v1 TCP6, IPv4 in it', Buffer.from('PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n'), { ip: '192.0.2.1', port: 1 }],
  ['v1 UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), undefined],
  ['v1 UNKNOWN with more', Buffer.from('PROXY UNKNOWN ff:f::1 whatever 1\r\n'), undefined],
  ['v1 longest', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(107 - 16)}\r\n`), undefined],
  ['v2 TCP4', v2(0x21, 0x11, IPV4), { ip: '192.0.2.1', port: 12_345 }],
  ['v2 TCP4 with TLVs', v2(0x21, 0x11, Buffer.concat([IPV4, tlvs(200)])), { ip: '192.0.2.1', port: 12_345 }],
  ['v2 longest', v2(0x21, 0x11, Buffer.concat([IPV4, tlvs(1024 - 12)])), { ip: '192.0.2.1', port: 12_345 }],
  ['v2 TCP6', v2(0x21, 0x21, IPV6), { ip: '2001:db8::1', port: 12_345 }],
  ['v2 TCP6, IPv4 in it', v2(0x21, 0x21, MAPPED), { ip: '192.0.2.1', port: 12_345 }],
  ['v2 LOCAL', v2(0x20, 0x00, Buffer.alloc(0)), undefined],
  ['v2 LOCAL with addresses', v2(0x20, 0x11, IPV4), undefined],
  ['v2 LOCAL, short', v2(0x20, 0x11, tlvs(3)), undefined],
  ['v2 unspecified', v2(0x21, 0x00, tlvs(7)), undefined],
  ['v2 UDP', v2(0x21, 0x12, IPV4), undefined],
  ['v2 UNIX', v2(0x21, 0x31, tlvs(216)), undefined],
]

test('headers, at once, in two pieces, and byte by byte', () => {
  const rest = Buffer.from("<?xml version='1.0'?>\r\n")
  for (const [name, header, source] of good) {
    const input = Buffer.concat([header, rest])
    assert.deepEqual(new ProxyHeader().write(input), { source, rest }, name)
    assert.deepEqual(new ProxyHeader().write(header), { source, rest: Buffer.alloc(0) }, name)
    for (let cut = 0; cut < header.length; cut++) {
      const proxy = new ProxyHeader()
      assert.equal(proxy.write(input.subarray(0, cut)), undefined, `${name}, cut at ${cut}`)
      assert.deepEqual(proxy.write(input.subarray(cut)), { source, rest }, `${name}, cut at ${cut}`)
    }
    const dripped = new ProxyHeader()
    for (let i = 0; i < header.length - 1; i++) {
      assert.equal(dripped.write(input.subarray(i, i + 1)), undefined, `${name}, byte ${i}`)
    }
    assert.deepEqual(dripped.write(input.subarray(header.length - 1, header.length + 3)), {
      source,
      rest: rest.subarray(0, 3),
    })
  }
})

const line = (text: string): Buffer => Buffer.from(`${text}\r\n`, 'latin1')
const bad: [string, Buffer][] = [
  ['a stream', Buffer.from("<?xml version='1.0'?><stream:stream>")],
  ['TLS', Buffer.from('16030100', 'hex')],
  ['lower case', line('proxy TCP4 192.0.2.1 192.0.2.2 1 2')],
  ['PROXY and no space', line('PROXYTCP4 192.0.2.1 192.0.2.2 1 2')],
  ['nothing', line('PROXY ')],
  ['no family', line('PROXY  192.0.2.1 192.0.2.2 1 2')],
  ['unknown family', line('PROXY UDP4 192.0.2.1 192.0.2.2 1 2')],
  ['UNKNOWN misspelt', line('PROXY UNKNOWNS')],
  ['too few words', line('PROXY TCP4 192.0.2.1 192.0.2.2 1')],
  ['too many words', line('PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3')],
  ['two spaces', line('PROXY TCP4  192.0.2.1 192.0.2.2 1 2')],
  ['space at the end', line('PROXY TCP4 192.0.2.1 192.0.2.2 1 2 ')],
  ['tab', line('PROXY TCP4\t192.0.2.1 192.0.2.2 1 2')],
  ['bad address', line('PROXY TCP4 192.0.2.256 192.0.2.2 1 2')],
  ['leading zero in an address', line('PROXY TCP4 192.0.02.1 192.0.2.2 1 2')],
  ['bad destination', line('PROXY TCP4 192.0.2.1 example.org 1 2')],
  ['IPv6 as TCP4', line('PROXY TCP4 ::1 ::1 1 2')],
  ['IPv4 as TCP6', line('PROXY TCP6 192.0.2.1 192.0.2.2 1 2')],
  ['zone', line('PROXY TCP6 fe80::1%eth0 ::1 1 2')],
  ['port too high', line('PROXY TCP4 192.0.2.1 192.0.2.2 65536 2')],
  ['port with a sign', line('PROXY TCP4 192.0.2.1 192.0.2.2 +1 2')],
  ['port with a leading zero', line('PROXY TCP4 192.0.2.1 192.0.2.2 01 2')],
  ['port of letters', line('PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2')],
  ['no port', line('PROXY TCP4 192.0.2.1 192.0.2.2  2')],
  ['bad destination port', line('PROXY TCP4 192.0.2.1 192.0.2.2 1 99999')],
  ['LF alone', Buffer.from('PROXY UNKNOWN\nmore')],
  ['CR alone', Buffer.from('PROXY UNKNOWN\rmore')],
  ['CR twice', Buffer.from('PROXY UNKNOWN\r\r\n')],
  ['NUL', line('PROXY UNKNOWN \0')],
  ['not ASCII', line('PROXY UNKNOWN \xe9')],
  ['line too long by one', line(`PROXY UNKNOWN ${'x'.repeat(107 - 15)}`)],
  ['107 bytes and no end of line', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(107 - 14)}`)],
  ['endless line', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(5000)}`)],
  ['signature broken', Buffer.from('0d0a0d0a000d0a515549540b', 'hex')],
  ['version 1 in binary', v2(0x11, 0x11, IPV4)],
  ['version 3', v2(0x31, 0x11, IPV4)],
  ['unknown command', v2(0x22, 0x11, IPV4)],
  ['unknown family', v2(0x21, 0x41, IPV4)],
  ['unknown protocol', v2(0x21, 0x13, IPV4)],
  ['too short for IPv4', v2(0x21, 0x11, IPV4.subarray(0, 11))],
  ['too short for IPv6', v2(0x21, 0x21, IPV6.subarray(0, 35))],
  ['too short for UNIX', v2(0x21, 0x31, tlvs(215))],
  ['length above the bound', v2(0x21, 0x11, Buffer.alloc(0), 1025)],
  ['longest length', v2(0x20, 0x00, Buffer.alloc(0), 65_535)],
]

test('what is no header is refused, at once and byte by byte', () => {
  for (const [name, input] of bad) {
    assert.throws(() => new ProxyHeader().write(input), ProxyError, name)
    const dripped = new ProxyHeader()
    assert.throws(
      () => {
        for (const byte of input) assert.equal(dripped.write(Buffer.from([byte])), undefined, name)
      },
      ProxyError,
      `${name}, dripped`,
    )
  }
})

test('it is refused at the first byte that is wrong', () => {
  const proxy = new ProxyHeader()
  assert.equal(proxy.write(Buffer.from('PRO')), undefined)
  assert.throws(() => proxy.write(Buffer.from('M')), ProxyError)
  assert.throws(() => new ProxyHeader().write(Buffer.from('\r\n\r\r')), ProxyError)
  assert.throws(() => new ProxyHeader().write(v2(0x31, 0, Buffer.alloc(0)).subarray(0, 13)), ProxyError)
})
