import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { getCACertificates } from 'node:tls'
import { linkOf } from '../../../src/net/chain.ts'
import {
  bitString,
  integer,
  octets,
  oid,
  readChildren,
  readElement,
  readOid,
  sequence,
  TAG,
  tlv,
} from '../../../src/net/der.ts'
import { extension, generalName, issue, OID } from '../../../src/net/issue.ts'
import { readCertificate } from '../../../src/net/x509.ts'
import { otherName, TestCa } from '../../support/ca.ts'
import { chance, SEED } from '../../support/chance.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
/** Of the first certificate, whatever OpenSSL thinks of it. */
const der = (pem: string): Buffer => Buffer.from(pem.split('-----')[2]!, 'base64')
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const now = Date.now()

/** A certificate with these extensions only. */
function having(...extensions: Buffer[]): Buffer {
  const parts = { publicKey: key.publicKey, signedBy: key.privateKey, notBefore: now, notAfter: now + 1000 }
  return der(issue({ ...parts, subject: 'a', issuer: 'a', extensions }))
}

test('what is not DER is no element', () => {
  for (const [what, bytes] of [
    ['nothing', ''],
    ['a tag', '04'],
    ['cut off', '04 03 01 02'],
    ['of indefinite length', '30 80 00 00'],
    ['a short length in a long form', '04 81 01 00'],
    ['a length with a leading zero', `04 82 00 80 ${'00'.repeat(128)}`],
    ['a length of five bytes', '04 85 00 00 00 00 01 00'],
    ['longer than any certificate', '04 84 7f ff ff ff 00'],
    ['a tag of several bytes', '1f 81 01 00'],
  ] as const) {
    assert.equal(readElement(hex(bytes), 0), undefined, what)
  }
  assert.deepEqual(readElement(hex(`04 81 80 ${'00'.repeat(128)}`), 0), { tag: 4, start: 3, end: 131 })
  assert.equal(readElement(hex('04 01 00'), 7), undefined)
  assert.equal(readElement(hex('04 01 00'), -1), undefined)
  assert.equal(readElement(hex('04 01 00'), 0, 2), undefined)
})

test('what an element holds: no more than is wanted, and nothing that reaches out of it', () => {
  const three = sequence(octets(hex('01')), octets(hex('02')), octets(hex('03')))
  assert.equal(readChildren(three, readElement(three, 0)!)?.length, 3)
  assert.equal(readChildren(three, readElement(three, 0)!, 2), undefined)
  const reaching = Buffer.concat([sequence(hex('04 05 01')), hex('00 00 00 00')])
  assert.equal(readChildren(reaching, readElement(reaching, 0)!), undefined)
})

test('object identifiers', () => {
  for (const dotted of ['1.3.6.1.5.5.7.8.7', '2.5.29.17', '2.999.1', '0.9.2342', '1.2.840.113549.1.1.11']) {
    const made = dotted === '2.999.1' ? hex('06 03 88 37 01') : oid(dotted)
    assert.equal(readOid(made, readElement(made, 0)!), dotted)
  }
  const uuid = hex('06 14 69 83 87 8c a7 93 aa c5 9f d8 e2 bb fd a1 cf f1 84 b6 93 01')
  assert.match(readOid(uuid, readElement(uuid, 0)!)!, /^2\.25\.\d{30,}/)
  for (const bad of ['06 00', '06 02 80 01', '06 01 81', '04 01 2a', `06 41 ${'2a'.repeat(65)}`]) {
    assert.equal(readOid(hex(bad), readElement(hex(bad), 0)!), undefined, bad)
  }
})

test('names: of domains and of services for servers, each as it is written, in lower case; what is no domain is none', () => {
  const ia5 = (text: string): Buffer => tlv(TAG.ia5, Buffer.from(text, 'latin1'))
  const dns = (text: string): Buffer => tlv(0x82, Buffer.from(text, 'latin1'))
  const names = [
    ...['A.example', '*.b.example', 'xn--bcher-kva.example'].map(generalName),
    ...['a.example\0.evil.example', '', '.', '*', '*.*.example', 'f*o.example', 'b\xfccher.example', ' c.example'].map(
      dns,
    ),
    ...['a@example.org', `${'x'.repeat(64)}.example`, 'double..dot', 'trailing.'].map(dns),
    generalName('192.0.2.1'),
    tlv(0x81, Buffer.from('mail.example')),
    tlv(0x86, Buffer.from('https://uri.example')),
    otherName(OID.dnsSRV, ia5('_xmpp-server.S.example')),
    otherName(OID.dnsSRV, ia5('_xmpp-client.client.example')),
    otherName(OID.dnsSRV, ia5('_xmpp-server.*.example')),
    otherName(OID.dnsSRV, tlv(TAG.utf8, Buffer.from('_xmpp-server.utf8.example'))),
    otherName(OID.xmppAddr, tlv(TAG.utf8, Buffer.from('x.example'))),
    otherName(OID.xmppAddr, tlv(TAG.utf8, Buffer.from('user@x.example'))),
    otherName('1.2.3', sequence(octets(hex('00')))),
  ]
  assert.deepEqual(readCertificate(having(extension(OID.subjectAltName, sequence(...names))))?.names, {
    dns: ['a.example', '*.b.example', 'xn--bcher-kva.example'],
    srv: ['s.example'],
    xmppAddr: ['x.example'],
  })
})

test('a certificate without extensions, and one of an authority', () => {
  const plain = readCertificate(having())
  assert.deepEqual(plain && { ...plain, issuer: '', subject: '' }, {
    hash: 'sha256',
    issuer: '',
    subject: '',
    ca: false,
    pathLength: undefined,
    certifies: true,
    usages: undefined,
    names: { dns: [], srv: [], xmppAddr: [] },
    constraints: undefined,
    unknown: undefined,
  })
  const authority = readCertificate(der(TestCa.create('R', { pathLength: 3 }).pem))
  assert.deepEqual([authority?.ca, authority?.pathLength, authority?.certifies], [true, 3, true])
  assert.equal(readCertificate(der(TestCa.create().issue(['a.example']).cert))?.certifies, false)
})

test('an extension that is known and malformed, or there twice, is no certificate', () => {
  const yes = tlv(TAG.boolean, hex('ff'))
  const names = sequence(generalName('a.example'))
  for (const [what, ...extensions] of [
    ['names that are no list', extension(OID.subjectAltName, octets(hex('00')))],
    ['something after the names', extension(OID.subjectAltName, Buffer.concat([names, hex('05 00')]))],
    ['a name that is cut off', extension(OID.subjectAltName, sequence(hex('82 05 61')))],
    ['an other name without a kind', extension(OID.subjectAltName, sequence(tlv(0xa0, octets(hex('00')))))],
    [
      'an other name of two values',
      extension(OID.subjectAltName, sequence(tlv(0xa0, oid('1.2.3'), tlv(0xa0, yes, yes)))),
    ],
    [
      'more names than anybody has',
      extension(OID.subjectAltName, sequence(...Array<Buffer>(1001).fill(hex('82 01 61')))),
    ],
    ['names twice', extension(OID.subjectAltName, names), extension(OID.subjectAltName, names)],
    [
      'basic constraints of a truth that is none',
      extension(OID.basicConstraints, sequence(tlv(TAG.boolean, hex('01')))),
    ],
    ['a length below zero', extension(OID.basicConstraints, sequence(yes, integer(hex('ff'))))],
    ['a length of two', extension(OID.basicConstraints, sequence(yes, integer(hex('01')), integer(hex('01'))))],
    ['key usage without bits', extension(OID.keyUsage, bitString(hex('')))],
    ['no purpose', extension(OID.extKeyUsage, sequence())],
    ['a purpose that is none', extension(OID.extKeyUsage, sequence(octets(hex('00'))))],
    ['constraints of nothing', extension(OID.nameConstraints, sequence())],
    [
      'constraints with a minimum',
      extension(OID.nameConstraints, sequence(tlv(0xa0, sequence(hex('82 01 61 80 01 00'))))),
    ],
    ['an extension without a value', sequence(oid('1.2.3'))],
    [
      'an extension that is critical in its own way',
      sequence(oid('1.2.3'), tlv(TAG.boolean, hex('07')), octets(hex('00'))),
    ],
  ] as const) {
    assert.equal(readCertificate(having(...extensions)), undefined, what)
  }
})

test('every authority that this machine trusts can be read, and what it says is what Node says', () => {
  const all = [...getCACertificates('bundled'), ...getCACertificates('system')].map(pem => new X509Certificate(pem))
  for (const certificate of all) {
    const details = readCertificate(certificate.raw)
    assert.ok(details, certificate.subject)
    // Of the first version there are still some, and Node takes them for authorities.
    if (certificate.raw.includes(oid(OID.basicConstraints)))
      assert.equal(details.ca, certificate.ca, certificate.subject)
    assert.deepEqual(details.usages, certificate.keyUsage, certificate.subject)
    assert.ok(details.hash, certificate.subject)
  }
})

test('whatever is changed or cut of a certificate, reading it ends, and never throws', () => {
  const { below: random } = chance(SEED)
  const authority = TestCa.create().intermediate('I', { extensions: [] })
  const { cert } = authority.issue(['a.example', '*.b.example'], {
    srv: ['_xmpp-server.a.example'],
    xmppAddr: ['a.example'],
  })
  const whole = der(cert)
  assert.ok(linkOf(whole))
  for (let length = 0; length < whole.length; length++)
    assert.equal(readCertificate(whole.subarray(0, length)), undefined)
  assert.equal(readCertificate(Buffer.concat([whole, hex('00')])), undefined)
  for (let at = 0; at < whole.length; at++) {
    const changed = Buffer.from(whole)
    for (const byte of [0, 0xff, 0x80, random(256)]) {
      changed[at] = byte
      readCertificate(changed)
    }
  }
  for (let round = 0; round < 2000; round++) {
    const changed = Buffer.from(whole)
    for (let times = 1 + random(8); times > 0; times--) changed[random(changed.length)] = random(256)
    linkOf(changed)
  }
})
