import assert from 'node:assert/strict'
import { test } from 'node:test'
import { redact } from '../../../src/stream/trace.ts'

const hidden: readonly [string, string][] = [
  ["<auth xmlns='urn:x' mechanism='PLAIN'>AHNlY3JldA==</auth>", 'AHNlY3JldA=='],
  ["<response xmlns='urn:x'>Yz1iaXdz</response>", 'Yz1iaXdz'],
  [
    "<authenticate mechanism='PLAIN'><initial-response>AHNlY3JldA==</initial-response><user-agent id='u'><software>Dino</software></user-agent></authenticate>",
    'AHNlY3JldA==',
  ],
  ["<success xmlns='urn:xmpp:sasl:2'><additional-data>dj1x</additional-data></success>", 'dj1x'],
  ["<token xmlns='urn:xmpp:fast:0' token='WXZzciBwYmFmdmZnZiBqdmd1IGp2eXFhcmZm' expiry='x'/>", 'WXZzciB'],
  ["<query xmlns='jabber:iq:register'><username>a</username><password>wonder&lt;land</password></query>", 'wonder'],
  ['<conference jid="a@b"><nick>n</nick><password>wonder</password></conference>', 'wonder'],
  ["<conference password='wonder' jid='a@b'/>", 'wonder'],
  ["<service host='turn' username='1:a' password='wonder'/>", 'wonder'],
  ["<x><field var='password'><value>wonder</value></field><field var='b'><value>shown</value></field></x>", 'wonder'],
  ["<x><field var='x' type='text-private'><value>wonder</value></field></x>", 'wonder'],
  ["<x:field xmlns:x='jabber:x:data' var='x' type='text-private'><x:value>wonder</x:value></x:field>", 'wonder'],
  [
    "<slot><put url='https://h/upload/wonder/a.jpg'><header name='Authorization'>wonder</header></put></slot>",
    'wonder',
  ],
  ["<field var='uri'><value>xmpp:h?register;preauth=wonder;ibr=y</value></field>", 'wonder'],
  ["<preauth xmlns='urn:xmpp:pars:0' token='wonder'/>", 'wonder'],
  ["<hash xmlns='urn:xmpp:scram-upgrade:0'>wonder</hash>", 'wonder'],
  ['<task-data><response>wonder</response></task-data>', 'wonder'],
  ['<password>won<b/>der</password>', 'der'],
]

for (const [xml, secret] of hidden) {
  test(`hidden: ${xml.slice(0, 60)}`, () => {
    const out = redact(xml)
    assert.ok(!out.includes(secret), out)
    assert.ok(out.includes('***'), out)
  })
}

test('what is no secret stays', () => {
  for (const xml of [
    "<message to='a@b' id='1'><body>my password is none of your business</body></message>",
    "<iq type='result' id='1'><query xmlns='jabber:iq:roster' ver='3'><item jid='a@b'/></query></iq>",
    "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>a@b/c</authorization-identifier></success>",
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' from='a'>",
    "<x><field var='password'/><field var='b'><value>shown</value></field></x>",
  ]) {
    assert.equal(redact(xml), xml)
  }
})
