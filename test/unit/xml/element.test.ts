import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Element as XmppElement } from '@xmpp/xml'
import {
  childElements,
  childIn,
  childText,
  clone,
  Element,
  elementNs,
  findChild,
  findChildren,
  firstChild,
  hasChild,
  NS,
  serialize,
  textOf,
  XmlError,
  xml,
} from '../../../src/xml/index.ts'

test('Element is the class of @xmpp/xml', () => {
  assert.equal(Element, XmppElement)
  assert.ok(xml('a') instanceof Element)
})

test('xml() leaves out what is not there, and makes children its own', () => {
  const b = xml('b')
  const el = xml('a', { x: '1', y: undefined }, null, undefined, false, 'text', 5, [b, [xml('c')]])
  assert.deepEqual(Object.keys(el.attrs), ['x'])
  assert.equal(serialize(el), "<a x='1'>text5<b/><c/></a>")
  assert.equal(b.parent, el)
})

describe('finding children', () => {
  const html = xml('body', { xmlns: NS.XHTML }, 'html')
  const body = xml('body', null, 'plain', xml('i', null, 'not this'), 'er')
  const state = xml('active', { xmlns: NS.CHATSTATES })
  const message = xml('message', null, 'text', html, body, state)

  test('by name and namespace', () => {
    assert.equal(findChild(message, 'body'), body)
    assert.equal(findChild(message, 'body', NS.CLIENT), body)
    assert.equal(findChild(message, 'body', NS.XHTML), html)
    assert.equal(findChild(message, 'active'), undefined)
    assert.equal(findChild(html, 'body'), undefined)
    assert.deepEqual(findChildren(message, 'body'), [body])
    assert.equal(childText(message, 'body'), 'plainer')
    assert.equal(childText(message, 'subject'), undefined)
  })

  test('by namespace, or in general', () => {
    assert.equal(childIn(message, NS.CHATSTATES), state)
    assert.equal(hasChild(message, NS.CHATSTATES), true)
    assert.equal(hasChild(message, NS.RECEIPTS), false)
    assert.equal(firstChild(message), html)
    assert.equal(firstChild(xml('a', null, 'x')), undefined)
    assert.deepEqual(childElements(message), [html, body, state])
    assert.equal(textOf(message), 'text')
  })
})

test('the namespace of an element is its own, its parents, or that of stanzas', () => {
  const c = xml('c', { xmlns: '' })
  const b = xml('b', null, c)
  xml('message', null, xml('a', { xmlns: 'u' }, b))
  assert.equal(elementNs(b), 'u')
  assert.equal(elementNs(c), '')
  assert.equal(elementNs(xml('message')), NS.CLIENT)
})

describe('clone', () => {
  test('is deep, has no parent, and links its own children', () => {
    const el = xml('a', { x: '1' }, xml('b', null, 'text'))
    const copy = clone(el)
    assert.equal(serialize(copy), serialize(el))
    copy.attrs['x'] = '2'
    copy.getChild('b')!.children.push('more')
    assert.equal(serialize(el), "<a x='1'><b>text</b></a>")
    assert.equal(copy.getChild('b')!.parent, copy)
    assert.equal(copy.parent, null)
  })

  test('keeps the namespace it was found in', () => {
    const b = xml('b')
    xml('a', { xmlns: 'u' }, b)
    assert.equal(clone(b).attrs['xmlns'], 'u')
    assert.equal(clone(xml('message')).attrs['xmlns'], undefined)
  })

  test('keeps an attribute called __proto__, and refuses what is too deep', () => {
    const el = xml('a')
    Object.defineProperty(el.attrs, '__proto__', { value: '1', enumerable: true })
    assert.equal(serialize(clone(el)), "<a __proto__='1'/>")
    el.children.push(el)
    assert.throws(() => clone(el), XmlError)
  })
})

test('no two namespaces are the same by mistake', () => {
  const values = Object.values(NS)
  assert.deepEqual(new Set(values).size, values.length)
})
