import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Element, NS, parseElement, StreamParser, serialize, serializeFor } from '../../../src/xml/index.ts'
import { fc } from '../../support/property.ts'

/** A long one: it is worth declaring once. */
const LONG = `urn:${'x'.repeat(300)}`

/** One stanza as the stream parser reads it. */
function read(xml: string): Element {
  let found: Element | undefined
  const parser = new StreamParser(
    {
      onOpen() {},
      onElement(el) {
        found = el
      },
      onClose() {},
      onError(error) {
        throw error
      },
    },
    { stanzaBytes: 10_000_000, depth: 100, attributes: 100 },
  )
  parser.write(Buffer.from(`<stream:stream xmlns='jabber:client' xmlns:stream='${NS.STREAM}'>${xml}`))
  return found!
}

/** What a tree means: names with namespaces, whatever stands where. */
function meaning(el: Element, around = 'jabber:client', prefixes: Record<string, string> = {}): unknown {
  const ns = el.attrs['xmlns'] ?? around
  const declared = { ...prefixes }
  for (const [key, value] of Object.entries(el.attrs)) if (key.startsWith('xmlns:')) declared[key.slice(6)] = value!
  const attrs = Object.entries(el.attrs)
    .filter(([key]) => !key.startsWith('xmlns'))
    .map(([key, value]) => {
      const [prefix, local] = key.includes(':') ? key.split(':') : ['', key]
      return `{${prefix === '' ? '' : (declared[prefix!] ?? prefix)}}${local}=${value}`
    })
  const children = el.children.map(child => (typeof child === 'string' ? child : meaning(child, ns, declared)))
  return [`{${ns}}${el.name}`, attrs.sort(), children]
}

test('a prefix declared once for 400 children is declared once again', () => {
  const sent = `<message><x xmlns:p='${LONG}'>${'<p:a/>'.repeat(400)}</x></message>`
  const el = read(sent)
  const written = serialize(el)
  assert.ok(written.length < 1.5 * sent.length, `${written.length} for ${sent.length}`)
  assert.deepEqual(meaning(parseElement(written)), meaning(el))
})

test('prefixes of attributes, elements among others, and deep ones are declared once too', () => {
  for (const inner of [
    "<a p:x='1'/>".repeat(400),
    "<p:a><b xmlns='urn:b'><p:c>x</p:c></b></p:a>".repeat(300),
    '<p:a><q:b/><p:b/></p:a>'.repeat(300),
    `${'<p:a><q:a>'.repeat(20)}${'</q:a></p:a>'.repeat(20)}`.repeat(10),
    "<a xmlns=''><p:a/></a>".repeat(300),
    "<p:a p:n0='1' q:x='2'/>".repeat(300),
  ]) {
    const sent = `<message><x xmlns:p='${LONG}' xmlns:q='${LONG}q'>${inner}</x></message>`
    const el = read(sent)
    const written = serialize(el)
    assert.ok(written.length < 2 * sent.length, `${written.length} for ${sent.length}`)
    assert.deepEqual(meaning(parseElement(written)), meaning(el))
  }
})

test('one prefix for several namespaces, and prefixes like those that are made', () => {
  const some = [1, 2, 3].map(n => `<n0:a xmlns:n0='${LONG}${n}' n0:x='${n}'/>`.repeat(50)).join('')
  const el = read(`<message xmlns:n1='urn:n1' n1:y='z'>${some}<n1:b/></message>`)
  assert.deepEqual(meaning(parseElement(serialize(el))), meaning(el))
})

test('what is short, or repeats little, is written as it always was', () => {
  const few = read(
    `<message><x xmlns='urn:x'>${"<a xmlns='urn:a'/>".repeat(5)}</x><body>${'y'.repeat(5000)}</body></message>`,
  )
  assert.doesNotMatch(serialize(few), /xmlns:/)
})

test('one attribute of the root for many receivers', () => {
  const el = read(`<message from='a' to='b'><x xmlns:p='${LONG}'>${'<p:a/>'.repeat(100)}</x></message>`)
  const written = serializeFor(el, 'to')('c')
  const again = parseElement(written)
  assert.deepEqual({ ...again.attrs }, { from: 'a', to: 'c' })
  assert.deepEqual(meaning(again.children[0] as Element), meaning(el.children[0] as Element))
  assert.ok(written.length < 3000)
})

test('whatever the tree, it means the same', () => {
  const namespace = fc.constantFrom('urn:a', LONG, `${LONG}2`, 'jabber:client', '')
  const { tree } = fc.letrec(tie => ({
    tree: fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      ns: fc.option(namespace, { nil: undefined }),
      attr: fc.option(fc.tuple(fc.constantFrom('p', 'q', 'n0', 'n1'), fc.constantFrom('urn:a', LONG)), {
        nil: undefined,
      }),
      text: fc.constantFrom('', 'x', '<&'),
      children: fc.oneof({ depthSize: 'medium' }, fc.constant([]), fc.array(tie('tree'), { maxLength: 12 })),
    }),
  }))
  interface Node {
    name: string
    ns: string | undefined
    attr: [string, string] | undefined
    text: string
    children: Node[]
  }
  const text = ({ name, ns, attr, text: own, children }: Node): string =>
    `<${name}${ns === undefined ? '' : ` xmlns='${ns}'`}${attr === undefined ? '' : ` xmlns:${attr[0]}='${attr[1]}' ${attr[0]}:z='1'`}>${own
      .replace('&', '&amp;')
      .replace('<', '&lt;')}${children.map(text).join('')}</${name}>`
  fc.assert(
    fc.property(fc.array(tree as fc.Arbitrary<Node>, { minLength: 1, maxLength: 30 }), trees => {
      const el = read(`<message>${trees.map(text).join('')}</message>`)
      assert.deepEqual(meaning(parseElement(serialize(el))), meaning(el))
    }),
    { numRuns: 300 },
  )
})
