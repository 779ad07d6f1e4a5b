import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Attrs, Element, serialize, serializeFor, XmlError, xml } from '../../../src/xml/index.ts'

describe('serialize', () => {
  test('escapes what has to be, and nothing else', () => {
    const el = xml('a', { b: `<>&'"\t\n\r`, c: 'é😀' }, `<>&'"\t\n\r]]>é😀`)
    assert.equal(serialize(el), `<a b='&lt;>&amp;&apos;"&#x9;&#xA;&#xD;' c='é😀'>&lt;&gt;&amp;'"\t\n&#xD;]]&gt;é😀</a>`)
  })

  test('leaves out attributes that are undefined or null', () => {
    const attrs: Record<string, unknown> = { b: undefined, c: null, d: '' }
    const el = new Element('a')
    el.attrs = attrs as Attrs
    assert.equal(serialize(el), "<a d=''/>")
  })

  test('takes numbers and booleans where code without types put them', () => {
    const el = new Element('a')
    Object.assign(el.attrs, { b: 1, c: true })
    Object.assign(el, { children: [5, null, undefined] })
    assert.equal(serialize(el), "<a b='1' c='true'>5</a>")
  })

  test('knows the prefixes around', () => {
    const el = xml('p:a', { 'xmlns:p': 'u' }, xml('p:b', { 'p:c': '1', 'xml:lang': 'en' }), xml('stream:error'))
    assert.equal(serialize(el), "<p:a xmlns:p='u'><p:b p:c='1' xml:lang='en'/><stream:error/></p:a>")
  })

  for (const [what, el] of [
    ['NUL in text', xml('a', null, 'x\0')],
    ['U+0001 in text', xml('a', null, '\u0001')],
    ['U+001F in an attribute', xml('a', { b: '\u001f' })],
    ['U+FFFE', xml('a', null, '\uFFFE')],
    ['U+FFFF in an attribute', xml('a', { b: '\uFFFF' })],
    ['half a surrogate pair, first', xml('a', null, '\uD83Dx')],
    ['half a surrogate pair, at the end', xml('a', { b: '\uD83D' })],
    ['half a surrogate pair, second', xml('a', null, '\uDE00')],
    ['a name with a space', xml('a b')],
    ['a name that is empty', xml('')],
    ['a name that would end the tag', xml('a/><b')],
    ['an attribute name that would add another', xml('a', { "b='c' d": 'e' })],
    ['a name with two colons', xml('a:b:c', { 'xmlns:a': 'u' })],
    ['an element prefix not declared', xml('x:a')],
    ['an attribute prefix not declared', xml('a', { 'x:b': '1' })],
    ['a prefix declared on a sibling', xml('a', null, xml('b', { 'xmlns:x': 'u' }), xml('x:c'))],
    ['a prefix declared as nothing', xml('x:a', { 'xmlns:x': '' })],
  ] as const) {
    test(`refuses ${what}`, () => assert.throws(() => serialize(el), XmlError))
  }

  test('does not overflow the stack: too deep, or a cycle, is an XmlError', () => {
    const root = xml('a')
    let at = root
    for (let i = 0; i < 1023; i++) at = at.c('a')
    assert.equal(serialize(root).length, 1023 * 7 + 4)
    for (let i = 0; i < 100_000; i++) at = at.c('a')
    assert.throws(() => serialize(root), XmlError)
    const cycle = xml('a')
    cycle.children.push(cycle)
    assert.throws(() => serialize(cycle), XmlError)
  })
})

test('serializeFor gives one text per value, and leaves the tree alone', () => {
  const el = xml('message', { to: 'a', id: '1' }, xml('body', { to: 'x' }, 'hi'))
  const to = serializeFor(el, 'to')
  assert.equal(to("b'"), "<message to='b&apos;' id='1'><body to='x'>hi</body></message>")
  assert.equal(to('c'), "<message to='c' id='1'><body to='x'>hi</body></message>")
  assert.equal(serialize(el), "<message to='a' id='1'><body to='x'>hi</body></message>")
  assert.throws(() => to('\0'), XmlError)
  assert.throws(() => serializeFor(xml('a'), 'x:y'), XmlError)
})
