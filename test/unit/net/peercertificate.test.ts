import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { getCACertificates } from 'node:tls'
import { Authorities } from '../../../src/net/authorities.ts'
import { PeerTls } from '../../../src/net/peertls.ts'
import { TlsContexts } from '../../../src/net/tls.ts'
import { type Issued, selfSignedLeaf, TestCa } from '../../support/ca.ts'

const folder = mkdtempSync(join(tmpdir(), 'hermod-peers-'))
after(() => rmSync(folder, { recursive: true }))

const ca = TestCa.create()
const file = join(folder, 'ca.pem')
writeFileSync(file, ca.pem)
const lines: string[] = []
const note = (_: object, message: string): void => void lines.push(message)
const log = { info: note, warn: note, error: note }
const authorities = await Authorities.load(file, log)
const tls = await TlsContexts.load({ certificates: [ca.issue(['ours.example'])], log })
let now = Date.now()
const peers = new PeerTls(tls, authorities, () => now)

function ders(pem: string): Buffer[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []
  return blocks.map(block => new X509Certificate(block).raw)
}

/** A connection whose peer has shown this; it can be asked for once. */
function showing(certificates: Buffer[]): { takePeerCertificates(): Buffer[] } {
  return { takePeerCertificates: () => certificates.splice(0) }
}

/** What is wrong with this certificate for a domain; empty: nothing. */
function wrong({ cert }: Pick<Issued, 'cert'>, domain: string, by = peers): string {
  const { valid, reason } = by.certificate(showing(ders(cert)), domain)
  assert.equal(valid, reason === '')
  return reason
}

test('names: the domain itself, or a wildcard that is its whole first label', () => {
  const leaf = ca.issue(['a.example', '*.b.example', 'bücher.example', '*.top'])
  for (const domain of [
    'a.example',
    'A.Example',
    'a.example.',
    'x.b.example',
    'bücher.example',
    'xn--bcher-kva.example',
  ]) {
    assert.equal(wrong(leaf, domain), '', domain)
  }
  const other = 'its certificate is for a.example, *.b.example, xn--bcher-kva.example, *.top'
  for (const domain of ['b.example', 'y.x.b.example', '.b.example', 'xa.example', 'example', 'x.top']) {
    assert.equal(wrong(leaf, domain), other, domain)
  }
  for (const address of ['192.0.2.1', '[2001:db8::1]', '2001:db8::1', '']) {
    assert.equal(
      wrong(ca.issue(['192.0.2.1', '2001:db8::1']), address),
      'its certificate cannot be for what is no domain',
    )
  }
})

test('an SRV-ID of servers is as good as a DNS name; an xmppAddr is not', () => {
  assert.equal(wrong(ca.issue(['web.example'], { srv: ['_xmpp-server.a.example'] }), 'a.example'), '')
  assert.equal(
    wrong(ca.issue([], { srv: ['_xmpp-client.a.example'] }), 'a.example'),
    'its certificate is for no domain (it has no DNS name in its subjectAltName)',
  )
  assert.match(
    wrong(ca.issue(['web.example'], { xmppAddr: ['a.example'] }), 'a.example'),
    /^its certificate has a.example as xmppAddr only/,
  )
})

test('what stands in the subject counts for nothing, however it is written (CVE-2025-59154)', () => {
  for (const commonName of ['a.example', 'CN=a.example,', 'a.example, CN=a.example', 'a.example\nDNS:a.example']) {
    const leaf = ca.issue(['evil.example'], { commonName })
    assert.equal(wrong(leaf, 'a.example'), 'its certificate is for evil.example', commonName)
    assert.equal(wrong(leaf, 'evil.example'), '')
    assert.match(wrong(ca.issue([], { commonName }), 'a.example'), /is for no domain/)
  }
})

test('who vouches for itself is believed nothing (CVE-2014-3451)', () => {
  assert.equal(wrong(selfSignedLeaf(['a.example']), 'a.example'), 'its certificate is self-signed')
  const another = TestCa.create('Test CA')
  assert.equal(
    wrong(another.issue(['a.example']), 'a.example'),
    'its certificate is not signed by "CN=Test CA", which it names',
  )
  // Nor with the root that it brings along.
  const brought = TestCa.create('Brought')
  assert.equal(
    wrong({ cert: brought.issue(['a.example']).cert + brought.pem }, 'a.example'),
    'its certificate is by an authority that is not trusted, "CN=Brought"',
  )
})

test('time: as it is when it is asked for', () => {
  assert.match(wrong(ca.expired('a.example'), 'a.example'), /^its certificate expired on \d{4}-\d\d-\d\d$/)
  assert.match(wrong(ca.notYetValid('a.example'), 'a.example'), /^its certificate is not valid before/)
  const shown = showing(ders(ca.issue(['a.example']).cert))
  assert.equal(peers.certificate(shown, 'a.example').valid, true)
  now += 40 * 86_400_000
  assert.deepEqual(peers.certificate(shown, 'a.example'), { valid: false, reason: 'its certificate has expired' })
  now = Date.now()
})

test('nothing, or bytes that are no certificate', () => {
  assert.deepEqual(peers.certificate(showing([]), 'a.example'), {
    valid: false,
    reason: 'no certificate was shown',
  })
  const leaf = ders(ca.intermediate().issue(['a.example']).cert)[0]!
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(100), leaf.subarray(1), Buffer.concat([leaf, leaf])]) {
    assert.deepEqual(peers.certificate(showing([bytes]), 'a.example'), {
      valid: false,
      reason: 'its certificate is broken',
    })
  }
  // What is broken beside it is passed over.
  const whole = ders(ca.intermediate().issue(['a.example']).cert)
  assert.equal(peers.certificate(showing([whole[0]!, Buffer.alloc(10), whole[1]!]), 'a.example').valid, true)
})

test('many names of a peer do not fill the log, and odd ones do not break it', () => {
  const names = Array.from({ length: 500 }, (_, i) => `host-${i}.example`)
  const { length } = wrong(ca.issue(names), 'a.example')
  assert.ok(length < 200, String(length))
  assert.match(wrong(ca.issue(names), 'a.example'), /host-4\.example and 495 more$/)
  const odd = TestCa.create(`${'x'.repeat(40)}\n\u0007\u202e${'y'.repeat(20)}`)
  assert.match(wrong(odd.issue(['a.example']), 'a.example'), /^[ -~]{1,200}$/)
})

test('the system vouches for others, with or without a file of our own; the chain of one is followed', async () => {
  const system = await Authorities.load(undefined, log)
  const pems = getCACertificates('system').length > 0 ? getCACertificates('system') : getCACertificates('default')
  const { subject } = new X509Certificate(pems[0]!)
  assert.ok(system.named(subject).length > 0)
  assert.ok(authorities.named(subject).length > 0)
  assert.equal(wrong(ca.issue(['a.example']), 'a.example', new PeerTls(tls, system)).includes('is not known'), true)
})

test('the file: read again when it has changed; what is bad in it is told, and what was read before goes on', async () => {
  const path = join(folder, 'other.pem')
  const [first, second] = [TestCa.create('First'), TestCa.create('Second')]
  const own = selfSignedLeaf(['pinned.example'])
  const write = (text: string): void => {
    writeFileSync(`${path}.new`, text)
    renameSync(`${path}.new`, path)
  }
  write(first.pem)
  const trusted = await Authorities.load(path, log)
  const mine = new PeerTls(tls, trusted)
  const leaf = second.issue(['a.example'])
  const before = showing(ders(leaf.cert))
  assert.equal(mine.certificate(before, 'a.example').valid, false)

  write(`# two, and one server as it is\n${first.pem}${second.pem}${own.cert}`)
  await trusted.check()
  assert.equal(wrong(leaf, 'a.example', mine), '')
  // Who came before was judged by who was trusted then.
  assert.equal(mine.certificate(before, 'a.example').valid, false)
  assert.equal(wrong(own, 'pinned.example', mine), '')
  assert.equal(wrong(own, 'other.example', mine), 'its certificate is for pinned.example')
  assert.equal(lines.at(-1), 'authorities for other servers read again: their file has changed')

  write('nothing')
  const told = lines.length
  for (let look = 0; look < 3; look++) await trusted.check()
  assert.deepEqual(lines.slice(told), [
    `${path}: holds no certificate (-----BEGIN CERTIFICATE-----). Look at the path in s2s.ca_file; what was read before stays in use`,
  ])
  assert.equal(wrong(leaf, 'a.example', mine), '')

  const use = await trusted.prepare(undefined)
  use()
  assert.match(wrong(leaf, 'a.example', mine), /is not known/)
  await trusted.check()

  for (const [text, message] of [
    [undefined, `${path}.none: there is no such file. Look at the path in s2s.ca_file`],
    [first.pem + second.pem.replace(/M/, 'N'), `${path}.bad: certificate 2 in it is broken`],
  ] as const) {
    if (text !== undefined) writeFileSync(`${path}.bad`, text)
    const wanted = text === undefined ? `${path}.none` : `${path}.bad`
    await assert.rejects(trusted.prepare(wanted), { name: 'TlsError', message })
  }
})
