import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Jid, JidError, prepDomain, prepLocal, prepResource } from '../../../src/xmpp/jid.ts'
import { foldsElsewhere } from '../../../src/xmpp/precis.ts'
import { costOf } from '../../support/cost.ts'
import { fc } from '../../support/property.ts'

/** Text and what it is prepared to. The first block is table 1 of RFC 7622 section 3.5. */
const VALID: [string, string][] = [
  ['juliet@example.com', 'juliet@example.com'],
  ['juliet@example.com/foo', 'juliet@example.com/foo'],
  ['juliet@example.com/foo bar', 'juliet@example.com/foo bar'],
  ['juliet@example.com/foo@bar', 'juliet@example.com/foo@bar'],
  ['foo\\20bar@example.com', 'foo\\20bar@example.com'],
  ['fussball@example.com', 'fussball@example.com'],
  ['fu\u00dfball@example.com', 'fu\u00dfball@example.com'],
  ['\u03c0@example.com', '\u03c0@example.com'],
  ['\u03a3@example.com/foo', '\u03c3@example.com/foo'],
  ['\u03c3@example.com/foo', '\u03c3@example.com/foo'],
  ['\u03c2@example.com/foo', '\u03c2@example.com/foo'],
  ['king@example.com/\u265a', 'king@example.com/\u265a'],
  ['example.com', 'example.com'],
  ['example.com/foobar', 'example.com/foobar'],
  ['a.example.com/b@example.net', 'a.example.com/b@example.net'],
  // Case, width and normalisation.
  ['Juliet@EXAMPLE.com/Balcony', 'juliet@example.com/Balcony'],
  ['JOSE\u0301@example.com', 'jos\u00e9@example.com'],
  ['\uff2a\uff35\uff2c\uff29\uff25\uff34@example.com', 'juliet@example.com'],
  ['\uff76\uff9e@example.com', '\u30ac@example.com'],
  ['\u0391\u03a3@example.com', '\u03b1\u03c3@example.com'],
  ['a@example.com/e\u0301', 'a@example.com/\u00e9'],
  ['a@example.com/x\u00a0y\u3000z', 'a@example.com/x y z'],
  ['a@example.com/ x ', 'a@example.com/ x '],
  ['a@example.com/ \u{1f600}', 'a@example.com/ \u{1f600}'],
  ['a@example.com//', 'a@example.com//'],
  ['a@example.com/\u2163', 'a@example.com/\u2163'],
  // Domains.
  ['example.com.', 'example.com'],
  ['a@example.com./r', 'a@example.com/r'],
  ['B\u00dcCHER.example', 'b\u00fccher.example'],
  ['bu\u0308cher.example', 'b\u00fccher.example'],
  ['xn--bcher-kva.example', 'b\u00fccher.example'],
  ['XN--BCHER-KVA.example', 'b\u00fccher.example'],
  ['example\u3002com', 'example.com'],
  ['\uff45xample.com', 'example.com'],
  ['stra\u00dfe.example', 'stra\u00dfe.example'],
  ['a--b.example', 'a--b.example'],
  ['127.0.0.1', '127.0.0.1'],
  ['a@[::1]/r', 'a@[::1]/r'],
  ['a@[2001:DB8:0:0:0:0:0:1]', 'a@[2001:db8::1]'],
  // Escapes are letters like others (XEP-0106): the server leaves them alone.
  ['d\\27artagnan@example.com', 'd\\27artagnan@example.com'],
  ['c\\3a\\5cnet@example.com', 'c\\3a\\5cnet@example.com'],
  // Right to left, and contextual rules that hold.
  ['\u05d3\u05d5\u05d3@example.com', '\u05d3\u05d5\u05d3@example.com'],
  ['\u05d3\u05d5\u05d3@example.com/\u05d3', '\u05d3\u05d5\u05d3@example.com/\u05d3'],
  ['paral\u00b7lel@example.com', 'paral\u00b7lel@example.com'],
]

const INVALID: [string, string][] = [
  // Table 2 of RFC 7622 section 3.5.
  ['quotation mark', '"juliet"@example.com'],
  ['space', 'foo bar@example.com'],
  ['no localpart, though there is a resource', '@example.com/ foo'],
  ['no localpart before @', '@example.com'],
  ['compatibility character', 'henry\u2163@example.com'],
  ['symbol', '\u265a@example.com'],
  ['no domain', 'juliet@'],
  ['no domain but a resource', '/foobar'],
  // More of the same.
  ['empty', ''],
  ['only a dot', '.'],
  ['empty resource', 'juliet@example.com/'],
  ['two @', 'a@b@example.com'],
  ['empty label', 'a@b..example'],
  ['two final dots', 'b.example..'],
  ['label begins with hyphen', '-a.example'],
  ['label ends with hyphen', 'a-.example'],
  ['underscore', 'a_b.example'],
  ['space in domain', 'exa mple.com'],
  ['space before', ' example.com'],
  ['A-label that decodes to nothing', 'xn--.example'],
  ['A-label of ASCII', 'xn--abc-.example'],
  ['A-label that is broken', 'xn--\u00fc.example'],
  ['full-width solidus in a domain', 'a.example\uff0fb'],
  ['domain of symbols that map to nothing', '\u00ad'],
  ['IPv6 with zone', 'a@[fe80::1%eth0]'],
  ['IPv6 that is none', 'a@[::1::]'],
  ['IPv4 in brackets', 'a@[127.0.0.1]'],
  ['after brackets', 'a@[::1]x'],
  ...Array.from(`"&':<>`, c => [`forbidden ${c}`, `a${c}b@example.com`] as [string, string]),
  ['full-width @', 'a\uff20b@example.com'],
  ['full-width quotation mark', '\uff02@example.com'],
  ['control in localpart', 'a\u0007@example.com'],
  ['control in resource', 'a@example.com/\u0007'],
  ['delete in resource', 'a@example.com/\u007f'],
  ['C1 control in resource', 'a@example.com/\u0085'],
  ['line separator', 'a@example.com/\u2028'],
  ['lone surrogate in resource', 'a@example.com/\ud800'],
  ['lone surrogate in localpart', 'a\udc00@example.com'],
  ['private use', 'a@example.com/\ue000'],
  ['unassigned', 'a@example.com/\u0378'],
  ['unassigned in localpart', '\u0378@example.com'],
  ['non-character', 'a@example.com/\ufdd0'],
  ['replacement character', 'a@example.com/\ufffd'],
  ['bidi override', 'a@example.com/\u202egnp.exe'],
  ['zero-width space', 'a\u200bb@example.com'],
  ['zero-width joiner', 'a\u200db@example.com'],
  ['variation selector', 'a\ufe0f@example.com'],
  ['soft hyphen', 'a\u00adb@example.com'],
  ['ligature', '\ufb01sh@example.com'],
  ['right-to-left with Latin', '\u05d3\u05d5a@example.com'],
  ['right-to-left that ends in a digit', '\u05d3\u05d51@example.com'],
  ['Latin that ends right-to-left', 'a\u05d3@example.com'],
  ['both kinds of Arabic digits', '\u0628\u0661\u06f1\u0628@example.com'],
  ['middle dot without l', 'a\u00b7b@example.com'],
  ['geresh without Hebrew', 'a\u05f3@example.com'],
]

for (const [text, expected] of VALID) {
  test(`takes ${JSON.stringify(text)}`, () => {
    assert.equal(Jid.parse(text)?.toString(), expected)
    assert.equal(Jid.parse(text)?.toString(), expected, 'the second time, from memory')
    assert.equal(Jid.parse(expected)?.toString(), expected, 'prepared again')
  })
}

for (const [why, text] of INVALID) {
  test(`refuses ${why}`, () => {
    assert.equal(Jid.parse(text), undefined)
    assert.throws(() => Jid.from(text), JidError)
  })
}

test('parts, bare address and comparison', () => {
  const jid = Jid.from('Juliet@Example.com/Balcony')
  assert.deepEqual([jid.local, jid.domain, jid.resource], ['juliet', 'example.com', 'Balcony'])
  assert.equal(jid.isBare, false)
  assert.equal(jid.bare.toString(), 'juliet@example.com')
  assert.equal(jid.bare, jid.bare)
  assert.equal(jid.bare.bare, jid.bare)
  assert.ok(jid.equals(Jid.of('juliet', 'example.com', 'Balcony')))
  assert.ok(!jid.equals(Jid.of('juliet', 'example.com', 'balcony')))
  assert.ok(!jid.equals(jid.bare))
  assert.ok(!jid.equals(undefined))
  assert.equal(jid.withResource('x').toString(), 'juliet@example.com/x')
  assert.equal(jid.withResource('').toString(), 'juliet@example.com')
  assert.equal(JSON.stringify({ jid }), '{"jid":"juliet@example.com/Balcony"}')
  assert.equal(Jid.from('example.com/x').bare.toString(), 'example.com')
})

test('look-alikes stay apart', () => {
  const names = ['paypal', 'p\u0430ypal', 'payp\u00e0l', 'pay\u03c1al', 'paypa\u0131']
  const seen = new Set(names.map(name => Jid.from(`${name}@example.com`).toString()))
  assert.equal(seen.size, names.length)
})

test('each part may have 1023 bytes of UTF-8, and no more', () => {
  const limit = 'a'.repeat(1023)
  const labels = `${'a'.repeat(62)}.`.repeat(16).slice(0, 1007) + '.'.repeat(1) + 'b'.repeat(15)
  assert.equal(Buffer.byteLength(labels), 1023)
  assert.equal(Jid.parse(`${limit}@${labels}/${limit}`)?.toString(), `${limit}@${labels}/${limit}`)
  assert.equal(Jid.parse(`${limit}@${labels}./${limit}`)?.domain, labels)
  assert.equal(prepLocal(`${limit}a`), undefined)
  assert.equal(prepDomain(`${labels}b`), undefined)
  assert.equal(prepResource(`${limit}a`), undefined)

  const wide = '\u00e9'.repeat(511)
  assert.equal(prepLocal(`${wide}a`), `${wide}a`)
  assert.equal(prepLocal(`${wide}aa`), undefined)
  assert.equal(prepResource(`${wide}a`), `${wide}a`)
  assert.equal(prepResource(`${wide}aa`), undefined)
  assert.equal(prepDomain(`${wide}a`), `${wide}a`)
  assert.equal(prepDomain(`${wide}aa`), undefined)
})

test('a text of any length costs no more than it is long', async () => {
  const refuse = (length: number) => {
    for (const filler of ['a', '\u00e9', '@', '/', '.', '\u05d3', '\u0301', 'xn--']) {
      assert.equal(Jid.parse(`a@b${filler.repeat(length)}`), undefined)
      assert.equal(Jid.parse(`${filler.repeat(length)}@b`), undefined)
    }
  }
  const [short, long] = [await costOf(() => refuse(10_000)), await costOf(() => refuse(1_000_000))]
  assert.ok(long < 1000 * short, `${long} ms for a hundred times what takes ${short} ms`)
  const prepare = (length: number, times: number) => {
    for (const filler of ['\u05d3', '\u00b7', '\u0301', 'l\u00b7', '\uff76\uff9e'])
      for (let i = 0; i < times; i++) prepLocal(filler.repeat(length).slice(0, length))
  }
  const [cut, whole] = [await costOf(() => prepare(31, 330)), await costOf(() => prepare(1023, 10))]
  assert.ok(whole < 10 * cut, `${whole} ms in one piece, ${cut} ms in many`)
})

test('the memory of addresses is bounded and changes no answer', () => {
  const count = 50_000
  for (let n = 0; n < count; n++) Jid.parse(`User${n}@example.com`)
  for (let n = 0; n < count; n += 997) assert.equal(Jid.parse(`User${n}@example.com`)?.local, `user${n}`)
})

test('an address read once is read the same again', () => {
  const part = fc.string({ unit: 'grapheme', maxLength: 12 })
  let valid = 0
  fc.assert(
    fc.property(part, part, part, (local, domain, resource) => {
      for (const text of [`${local}@${domain}.example/${resource}`, `${local}@example.com`, `a@b/${resource}`]) {
        const jid = Jid.parse(text)
        if (jid === undefined) continue
        valid++
        const again = Jid.parse(jid.toString())
        assert.ok(again !== undefined)
        assert.deepEqual([again.local, again.domain, again.resource], [jid.local, jid.domain, jid.resource])
        assert.equal(again.toString(), jid.toString())
      }
    }),
    { numRuns: 3000 },
  )
  assert.ok(valid > 500, `only ${valid} valid addresses were tried`)
})

test('every character: prepared parts stay as they are, and hold nothing that splits an address', () => {
  for (let code = 0; code <= 0x10ffff; code++) {
    const char = String.fromCodePoint(code)
    const local = prepLocal(char)
    if (local !== undefined) {
      assert.equal(prepLocal(local), local, `localpart U+${code.toString(16)}`)
      assert.ok(!/[@/\s]/.test(local))
    }
    const resource = prepResource(char)
    if (resource !== undefined) assert.equal(prepResource(resource), resource, `resourcepart U+${code.toString(16)}`)
    if (code > 0x2ffff && code < 0xe0000) code = 0xe0000
  }
})

test('names that servers with nodeprep would fold onto another are known', () => {
  for (const name of ['fu\u00dfball', 'nikos\u03c2', '\u1f80']) assert.equal(foldsElsewhere(name), true, name)
  for (const name of ['fussball', '\u03c3', 'jos\u00e9', '\u0131']) assert.equal(foldsElsewhere(name), false, name)
})
