import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noticeOf, publication, queuedNotice } from '../../../../src/modules/push/notice.ts'
import { parseElement, serialize } from '../../../../src/xml/index.ts'
import { stanza } from '../../core/support.ts'

const ME = 'juliet@example.org'
const from = (content: string, sender = 'romeo@example.org/orchard') =>
  stanza(`<message from='${sender}' to='${ME}' type='chat'>${content}</message>`)
const id = (by = ME) => `<stanza-id xmlns='urn:xmpp:sid:0' by='${by}' id='7'/>`

test('what a person wrote, hid or proposes is worth telling', () => {
  for (const content of [
    '<body>hi</body>',
    "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>",
    "<encrypted xmlns='urn:xmpp:omemo:2'><header/><payload>x</payload></encrypted>",
    "<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x>",
    "<x xmlns='jabber:x:conference' jid='room@b'/>",
  ])
    assert.ok(noticeOf(from(content), undefined), content)
})

test('what only clients say to each other is not', () => {
  for (const content of [
    '<body/>',
    "<active xmlns='http://jabber.org/protocol/chatstates'/>",
    "<received xmlns='urn:xmpp:receipts' id='1'/>",
    "<retract xmlns='urn:xmpp:jingle-message:0' id='1'/>",
    "<encrypted xmlns='urn:xmpp:omemo:2'><header/></encrypted>",
    "<x xmlns='http://jabber.org/protocol/muc#user'/>",
    "<retract xmlns='urn:xmpp:message-retract:1' id='1'/><body>took it back</body>",
    "<body xmlns='http://www.w3.org/1999/xhtml'>hi</body>",
  ])
    assert.equal(noticeOf(from(content), undefined), undefined, content)
})

test('only what was queued has an id, and only what others sent is told', () => {
  assert.equal(queuedNotice(from(`<body>hi</body>${id()}`), ME)?.id, '7')
  assert.equal(queuedNotice(from('<body>hi</body>'), ME), undefined)
  assert.equal(queuedNotice(from(`${id()}<body>hi</body>`), ME), undefined)
  assert.equal(queuedNotice(from(`<body>hi</body>${id('romeo@example.org')}`), ME), undefined)
  assert.equal(queuedNotice(from(`<body>hi</body>${id()}`, `${ME}/desk`), ME), undefined)
  assert.equal(queuedNotice(from(`<body>hi</body><no-store xmlns='urn:xmpp:hints'/>${id()}`), ME), undefined)
})

test('a publication as XEP-0357 7 shows it', () => {
  const options = "<x xmlns='jabber:x:data' type='submit'><field var='secret'><value>s</value></field></x>"
  const summary = { messages: 3, requests: 1, sender: 'romeo@example.org', body: 'Wherefore?', important: true }
  const field = (name: string, value: string, type = '') =>
    `<field var='${name}'${type}><value>${value}</value></field>`
  assert.equal(
    serialize(publication('yxs32', summary, parseElement(options))),
    "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='yxs32'><item><notification xmlns='urn:xmpp:push:0'>" +
      "<x xmlns='jabber:x:data' type='submit'>" +
      field('FORM_TYPE', 'urn:xmpp:push:summary', " type='hidden'") +
      field('message-count', '3') +
      field('pending-subscription-count', '1') +
      field('last-message-sender', 'romeo@example.org') +
      field('last-message-body', 'Wherefore?') +
      "</x><priority xmlns='tigase:push:priority:0'>high</priority></notification></item></publish>" +
      `<publish-options>${options}</publish-options></pubsub>`,
  )
})
