import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { type Anchors, chainFault, type Link, linkOf } from '../../../src/net/chain.ts'
import { bitString, content, octets, oid, readElement, sequence, TAG, tlv } from '../../../src/net/der.ts'
import { extension, issue, OID } from '../../../src/net/issue.ts'
import { type AuthorityOptions, type Issued, otherName, selfSignedLeaf, TestCa } from '../../support/ca.ts'

const DAY = 86_400_000
const root = TestCa.create('Root')

function derOf(pem: string): Buffer[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []
  return blocks.map(block => new X509Certificate(block).raw)
}

function anchors(...pems: string[]): Anchors {
  const links = pems.flatMap(derOf).map(der => linkOf(der)!)
  return {
    named: name => links.filter(({ certificate }) => certificate.subject === name),
    has: der => links.some(({ certificate }) => certificate.raw.equals(der)),
  }
}

function fault(issued: { cert: string }, trusted: Anchors = anchors(root.pem), now = Date.now()): string | undefined {
  const [leaf, ...shown] = derOf(issued.cert).map(der => linkOf(der)!) as [Link, ...Link[]]
  return chainFault(leaf, shown, trusted, now)
}

/** Whether OpenSSL, in a handshake, finds as a client that this server is who it says. */
async function openssl(issued: Issued, ...trusted: string[]): Promise<boolean> {
  const server = createServer(issued, socket => socket.on('error', () => {}))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connect({ port, ca: trusted, rejectUnauthorized: false, checkServerIdentity: () => undefined })
  await once(socket, 'secureConnect')
  socket.destroy()
  server.close()
  return socket.authorized
}

const permit = (...names: Buffer[]): Buffer =>
  extension(OID.nameConstraints, sequence(tlv(0xa0, ...names.map(name => sequence(name)))), true)
const exclude = (...names: Buffer[]): Buffer =>
  extension(OID.nameConstraints, sequence(tlv(0xa1, ...names.map(name => sequence(name)))), true)
const dns = (name: string): Buffer => tlv(0x82, Buffer.from(name))
const under = (options: AuthorityOptions): TestCa => root.intermediate('Below', options)
const eku = (id: string): Buffer => extension(OID.extKeyUsage, sequence(oid(id)))
const CA = [extension(OID.basicConstraints, sequence(tlv(TAG.boolean, Buffer.from([0xff]))), true)]
const critical = extension('1.2.3.4', octets(Buffer.from('?')), true)
const commonName = (name: string): Buffer =>
  sequence(tlv(TAG.set, sequence(oid(OID.commonName), tlv(TAG.utf8, Buffer.from(name)))))

/** Where OpenSSL has an opinion too (`same`), it is the same one. */
const CASES: readonly (readonly [what: string, issued: Issued, fault: RegExp | undefined, same?: boolean])[] = [
  ['from the root', root.issue(['a.example']), undefined],
  ['by an authority below', under({}).issue(['a.example']), undefined],
  ['by one below two', under({}).intermediate('Deeper').issue(['a.example']), undefined],
  ['self-signed', selfSignedLeaf(['a.example']), /^is self-signed$/],
  ['of another root', TestCa.create('Another').issue(['a.example']), /^is by "CN=Another", which is not known/],
  ['of a root of the same name', TestCa.create('Root').issue(['a.example']), /^is not signed by "CN=Root"/],
  ['expired', root.expired('a.example'), /^expired on \d{4}-\d\d-\d\d$/],
  ['not yet valid', root.notYetValid('a.example'), /^is not valid before \d{4}-\d\d-\d\d$/],
  [
    'by who is no authority',
    under({ authority: false }).issue(['a.example']),
    /^is by "CN=Below", which is no authority$/,
  ],
  [
    'by an authority that has expired',
    under({ notBefore: Date.now() - 9 * DAY, notAfter: Date.now() - DAY }).issue(['a.example']),
    /^is by "CN=Below", which expired on/,
  ],
  ['as deep as may be', under({ pathLength: 1 }).intermediate('Deeper').issue(['a.example']), undefined],
  [
    'deeper than may be',
    under({ pathLength: 0 }).intermediate('Deeper').issue(['a.example']),
    /^has an authority "CN=Deeper" that is by "CN=Below", which may have no authorities below it$/,
  ],
  ['with something critical', root.issue(['a.example'], { extensions: [critical] }), /critical extension .*1\.2\.3\.4/],
  [
    'below something critical',
    under({ extensions: [critical] }).issue(['a.example']),
    /"CN=Below", which has a critical/,
  ],
  ['for servers only', root.issue(['a.example'], { usages: ['serverAuth'] }), undefined],
  // A server with it would be refused by OpenSSL.
  ['for clients only', root.issue(['a.example'], { usages: ['clientAuth'] }), undefined, false],
  ['for any purpose', root.issue(['a.example'], { usages: [] }), undefined],
  [
    'for other purposes',
    root.issue(['a.example'], { usages: [], extensions: [eku('1.3.6.1.5.5.7.3.4')] }),
    /other purposes than TLS/,
  ],
  [
    'by an authority for other purposes',
    under({ extensions: [eku('1.3.6.1.5.5.7.3.3')] }).issue(['a.example']),
    /^is by "CN=Below", which is for other purposes than TLS/,
  ],
  ['within its domain', under({ extensions: [permit(dns('example'))] }).issue(['a.example', '*.a.example']), undefined],
  [
    'outside of it',
    under({ extensions: [permit(dns('a.example'))] }).issue(['b.example']),
    /may not vouch for such a name/,
  ],
  [
    'one name within, another not',
    under({ extensions: [permit(dns('a.example'))] }).issue(['a.example', 'aa.example']),
    /may not vouch/,
  ],
  ['in what is excluded', under({ extensions: [exclude(dns('a.example'))] }).issue(['x.a.example']), /may not vouch/],
  ['beside what is excluded', under({ extensions: [exclude(dns('a.example'))] }).issue(['b.example']), undefined],
  // OpenSSL lets a wildcard stand for what is excluded, and an SRV-ID pass as a kind of name that nothing is said of.
  [
    'a wildcard over it',
    under({ extensions: [exclude(dns('a.example'))] }).issue(['*.example']),
    /may not vouch/,
    false,
  ],
  [
    'outside by its SRV-ID',
    under({ extensions: [permit(dns('a.example'))] }).issue(['a.example'], { srv: ['_xmpp-server.b.example'] }),
    /may not vouch/,
    false,
  ],
  [
    'constraints of the root, two levels up',
    TestCa.create('Bound', { extensions: [permit(dns('a.example'))] })
      .intermediate('Below')
      .issue(['b.example']),
    /is not known/,
    false,
  ],
  [
    'within a directory',
    under({ extensions: [permit(tlv(0xa4, commonName('a.example')))] }).issue(['a.example']),
    undefined,
  ],
  [
    'outside of it',
    under({ extensions: [permit(tlv(0xa4, commonName('b.example')))] }).issue(['a.example']),
    /may not vouch/,
  ],
  [
    'constraints on names of a kind of its own',
    under({ extensions: [permit(otherName(OID.dnsSRV, tlv(TAG.ia5, Buffer.from('_xmpp-server.a.example'))))] }).issue([
      'a.example',
    ]),
    /may not vouch/,
    false,
  ],
]

for (const [what, issued, wanted, same] of CASES) {
  test(`a certificate ${what}: ${wanted === undefined ? 'good' : 'bad'}`, async () => {
    const found = fault(issued)
    if (wanted === undefined) assert.equal(found, undefined)
    else assert.match(found ?? 'nothing', wanted)
    if (same !== false) assert.equal(await openssl(issued, root.pem), wanted === undefined, 'OpenSSL')
  })
}

test('constraints of a root bind those far below', async () => {
  const bound = TestCa.create('Bound', { extensions: [permit(dns('a.example'))] })
  const below = bound.intermediate('Below')
  assert.equal(fault(below.issue(['x.a.example']), anchors(bound.pem)), undefined)
  const outside = below.issue(['b.example'])
  assert.match(fault(outside, anchors(bound.pem))!, /"CN=Bound", which may not vouch for such a name/)
  assert.equal(await openssl(outside, bound.pem), false)
})

test('an authority that is trusted may stand anywhere in the chain; a root that has expired is trusted no longer', async () => {
  const below = root.intermediate('Below')
  assert.equal(fault(below.issue(['a.example']), anchors(below.pem)), undefined)
  const old = TestCa.create('Old', { notBefore: Date.now() - 9 * DAY, notAfter: Date.now() - DAY })
  const leaf = old.issue(['a.example'])
  assert.match(fault(leaf, anchors(old.pem))!, /"CN=Old", which expired on/)
  assert.equal(await openssl(leaf, old.pem), false)
})

test('the chain may be shown in any order, with others between, and a certificate of the same name that does not fit', () => {
  const [first, second] = [root.intermediate('Below'), root.intermediate('Below')]
  const deeper = second.intermediate('Deeper')
  const [leaf, ...chain] = derOf(deeper.issue(['a.example']).cert).map(der => linkOf(der)!)
  const others = [first.pem, TestCa.create('Another').pem, root.pem].flatMap(derOf).map(der => linkOf(der)!)
  const trusted = anchors(root.pem)
  assert.equal(chainFault(leaf!, [...others, ...chain.toReversed()], trusted, Date.now()), undefined)
  assert.match(chainFault(leaf!, others, trusted, Date.now())!, /"CN=Deeper", which is not known/)
})

test('who shows a labyrinth has us try so much and no more', t => {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const now = Date.now()
  const parts = { publicKey: key.publicKey, signedBy: key.privateKey, notBefore: now - DAY, notAfter: now + DAY }
  const links = Array.from({ length: 9 }, () =>
    linkOf(derOf(issue({ ...parts, subject: 'Loop', issuer: 'Loop', extensions: CA }))[0]!),
  )
  const leaf = linkOf(derOf(issue({ ...parts, subject: 'a.example', issuer: 'Loop', extensions: [] }))[0]!)!
  const verified = counting(t)
  assert.match(chainFault(leaf, links as Link[], anchors(root.pem), now)!, /too many certificates/)
  assert.ok(verified() <= 20, `${verified()} signatures`)
})

/** Signatures that are looked at from now on. */
function counting(t: TestContext): () => number {
  const { verify } = X509Certificate.prototype
  let count = 0
  X509Certificate.prototype.verify = function (key) {
    count++
    return verify.call(this, key)
  }
  t.after(() => {
    X509Certificate.prototype.verify = verify
  })
  return () => count
}

test('a certificate that the operator has named is trusted as it is, while it lasts', () => {
  const own = selfSignedLeaf(['a.example'])
  assert.equal(fault(own, anchors(own.cert)), undefined)
  assert.match(fault(own, anchors(own.cert), Date.now() + 60 * DAY)!, /^expired on/)
  const other = selfSignedLeaf(['a.example'])
  assert.match(fault(other, anchors(own.cert))!, /is not signed by/)
})

test('keys and signatures that are too weak', () => {
  const now = Date.now()
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const strong = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const parts = { subject: 'a.example', notBefore: now - DAY, notAfter: now + DAY, extensions: [] }
  const rsa = issue({ ...parts, issuer: 'a.example', publicKey: weak.publicKey, signedBy: strong.privateKey })
  assert.equal(fault({ cert: rsa }), 'has a key that is too weak')
  const curve = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
  const odd = issue({ ...parts, issuer: 'a.example', publicKey: curve.publicKey, signedBy: strong.privateKey })
  assert.equal(fault({ cert: odd }), 'has a key that is too weak')

  const by = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const root = issue({
    ...parts,
    subject: 'R',
    issuer: 'R',
    publicKey: by.publicKey,
    signedBy: by.privateKey,
    extensions: CA,
  })
  const [leaf] = derOf(issue({ ...parts, issuer: 'R', publicKey: strong.publicKey, signedBy: by.privateKey }))
  const sha1 = signedWithSha1(leaf!, by.privateKey)
  assert.ok(new X509Certificate(sha1).verify(by.publicKey))
  assert.equal(chainFault(linkOf(sha1)!, [], anchors(root), now), 'is signed by a method too weak or not known (sha1)')
  assert.equal(chainFault(linkOf(leaf!)!, [], anchors(root), now), undefined)
})

/** The same certificate, but for its signature. */
function signedWithSha1(der: Buffer, key: KeyObject): Buffer {
  const [from, to] = [sequence(oid(OID.ecdsaWithSHA256)), sequence(oid('1.2.840.10045.4.1'))]
  const whole = readElement(der, 0)!
  const tbs = content(der, readElement(der, whole.start)!)
  const place = tbs.indexOf(from)
  const changed = sequence(tbs.subarray(0, place), to, tbs.subarray(place + from.length))
  return sequence(changed, to, bitString(sign('sha1', changed, key)))
}

test('a signature that is wrong, in the leaf or above', () => {
  const flip = (der: Buffer): Buffer => {
    const copy = Buffer.from(der)
    copy[copy.length - 1]! ^= 1
    return copy
  }
  const [leaf, below] = derOf(root.intermediate('Below').issue(['a.example']).cert)
  const trusted = anchors(root.pem)
  const judge = (one: Buffer, other: Buffer): string | undefined =>
    chainFault(linkOf(one)!, [linkOf(other)!], trusted, Date.now())
  assert.equal(judge(leaf!, below!), undefined)
  assert.equal(judge(flip(leaf!), below!), 'is not signed by "CN=Below", which it names')
  assert.equal(
    judge(leaf!, flip(below!)),
    'has an authority "CN=Below" that is not signed by "CN=Root", which it names',
  )
})
