import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NS, xml } from '../../../src/xml/index.ts'
import { verificationString } from '../../../src/xmpp/caps.ts'
import { dataForm } from '../../../src/xmpp/forms.ts'

const features = [NS.CAPS, NS.DISCO_INFO, NS.DISCO_ITEMS, NS.MUC].reverse().map(name => xml('feature', { var: name }))

test('the simple example of XEP-0115 5.2', () => {
  const identity = xml('identity', { category: 'client', type: 'pc', name: 'Exodus 0.9.1' })
  assert.equal(
    verificationString(xml('query', { xmlns: NS.DISCO_INFO }, identity, features)),
    'QgayPKawpkPSDYmwT/WM94uAlu0=',
  )
})

test('the complex example of XEP-0115 5.3', () => {
  const query = xml(
    'query',
    { xmlns: NS.DISCO_INFO },
    xml('identity', { category: 'client', type: 'pc', name: 'Psi 0.11', 'xml:lang': 'en' }),
    xml('identity', { category: 'client', type: 'pc', name: 'Ψ 0.11', 'xml:lang': 'el' }),
    features,
    dataForm('result', NS.SOFTWARE_INFO, [
      { var: 'software_version', values: ['0.11'] },
      { var: 'os', values: ['Mac'] },
      { var: 'ip_version', values: ['ipv6', 'ipv4'] },
      { var: 'software', values: ['Psi'] },
      { var: 'os_version', values: ['10.5.1'] },
    ]),
    xml('x', { xmlns: NS.DATA, type: 'result' }, xml('field', { var: 'a form of no type' })),
  )
  assert.equal(verificationString(query), 'q07IKJEyjvHSyhy//CH0CxmKi8w=')
})

test('sorts by bytes, not by UTF-16 units', () => {
  const query = (...names: string[]) =>
    xml(
      'query',
      { xmlns: NS.DISCO_INFO },
      names.map(name => xml('feature', { var: name })),
    )
  // U+1F600 comes after U+FF5E in UTF-8, before it in UTF-16.
  assert.equal(verificationString(query('\u{1F600}', '\uff5e')), verificationString(query('\uff5e', '\u{1F600}')))
  assert.equal(verificationString(query('\u{1F600}', '\uff5e')), 'XhWoSAi5cguDGtJ5nhA8P0X+HL4=')
})
