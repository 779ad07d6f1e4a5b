import assert from 'node:assert/strict'
import { test } from 'node:test'
import { childText, findChild, findChildren, parseElement, serialize } from '../../../src/xml/index.ts'
import { type Card, readVCard, readVCard4, sameCard, writeVCard, writeVCard4 } from '../../../src/xmpp/vcard.ts'
import { fc } from '../../support/property.ts'

const FULL: Card = {
  name: 'Alice P. Liddell',
  names: ['Liddell', 'Alice', 'Pleasance', '', 'jr'],
  nicknames: ['al', 'wonder'],
  emails: [
    { value: 'alice@example.org', kinds: ['home'] },
    { value: 'a@work.example', kinds: ['work'] },
  ],
  phones: [
    { value: '+1-303-308-3282', kinds: ['work', 'voice'] },
    { value: 'ask for Alice', kinds: [] },
  ],
  urls: ['https://example.org/~alice'],
  note: 'Down the\nrabbit hole & back',
  organization: ['Wonderland', 'Tea Party'],
  title: 'Queen’s guest',
  birthday: '1852-05-04',
}

test('a vcard-temp of XEP-0054, read', () => {
  const vcard = parseElement(`<vCard xmlns='vcard-temp'>
    <FN>Peter Saint-Andre</FN><N><FAMILY>Saint-Andre</FAMILY><GIVEN>Peter</GIVEN><MIDDLE/></N>
    <NICKNAME>stpeter</NICKNAME><URL>http://www.xmpp.org/xsf/people/stpeter.shtml</URL><BDAY>1966-08-06</BDAY>
    <ORG><ORGNAME>XMPP Standards Foundation</ORGNAME><ORGUNIT/></ORG><TITLE>Executive Director</TITLE>
    <TEL><WORK/><VOICE/><NUMBER>303-308-3282</NUMBER></TEL><TEL><WORK/><FAX/><NUMBER/></TEL>
    <EMAIL><INTERNET/><PREF/><USERID>stpeter@jabber.org</USERID></EMAIL>
    <DESC>More is on my website.</DESC><JABBERID>stpeter@jabber.org</JABBERID></vCard>`)
  assert.deepEqual(readVCard(vcard), {
    name: 'Peter Saint-Andre',
    names: ['Saint-Andre', 'Peter'],
    nicknames: ['stpeter'],
    emails: [{ value: 'stpeter@jabber.org', kinds: [] }],
    phones: [{ value: '303-308-3282', kinds: ['work', 'voice'] }],
    urls: ['http://www.xmpp.org/xsf/people/stpeter.shtml'],
    note: 'More is on my website.',
    organization: ['XMPP Standards Foundation'],
    title: 'Executive Director',
    birthday: '1966-08-06',
  })
})

test('a vCard4 of XEP-0292, read', () => {
  const vcard = parseElement(`<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'>
    <fn><text>Peter Saint-Andre</text></fn><n><surname>Saint-Andre</surname><given>Peter</given><additional/></n>
    <nickname><text>stpeter</text></nickname><nickname><text>psa</text></nickname>
    <photo><uri>https://stpeter.im/images/stpeter_oscon.jpg</uri></photo><bday><date>1966-08-06</date></bday>
    <tel><parameters><type><text>work</text><text>voice</text></type><pref><integer>1</integer></pref></parameters>
      <uri>tel:+1-303-308-3282</uri></tel>
    <org><parameters><type><text>work</text></type></parameters><text>XMPP Standards Foundation</text></org>
    <url><uri>https://stpeter.im/</uri></url>
    <email><parameters><type><text>home</text></type></parameters><text>stpeter@jabber.org</text></email></vcard>`)
  assert.deepEqual(readVCard4(vcard), {
    name: 'Peter Saint-Andre',
    names: ['Saint-Andre', 'Peter'],
    nicknames: ['stpeter', 'psa'],
    emails: [{ value: 'stpeter@jabber.org', kinds: ['home'] }],
    phones: [{ value: '+1-303-308-3282', kinds: ['work', 'voice'] }],
    urls: ['https://stpeter.im/'],
    organization: ['XMPP Standards Foundation'],
    birthday: '1966-08-06',
  })
})

test('what is written is read again, in both forms, over the wire', () => {
  assert.deepEqual(readVCard(parseElement(serialize(writeVCard(FULL)))), FULL)
  assert.deepEqual(readVCard4(parseElement(serialize(writeVCard4(FULL)))), FULL)
})

test('what a card cannot say stays as it was, and what it does not say any more goes', () => {
  const base = parseElement(
    "<vCard xmlns='vcard-temp'><FN>Old</FN><TITLE>Old</TITLE><ADR><HOME/><CTRY>Wonderland</CTRY></ADR><NOTE>old</NOTE></vCard>",
  )
  const next = writeVCard({ name: 'New', note: 'new' }, base)
  assert.deepEqual(readVCard(next), { name: 'New', note: 'new' })
  assert.equal(childText(findChild(next, 'ADR')!, 'CTRY'), 'Wonderland')
  assert.equal(findChildren(next, 'NOTE').length, 0)
  assert.equal(childText(base, 'FN'), 'Old', 'the base is as it was')
  const base4 = parseElement(
    "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><fn><text>Old</text></fn><geo><uri>geo:39.59,-105.01</uri></geo></vcard>",
  )
  const next4 = writeVCard4({ name: 'New' }, base4)
  assert.equal(childText(findChild(next4, 'geo')!, 'uri'), 'geo:39.59,-105.01')
})

test('whatever somebody writes: once read, both forms say the same of it for good', () => {
  const text = fc.string({
    unit: fc.constantFrom(' ', 'a', 'é', '1', '+', '-', ':', 'tel:', '\n', '&', '<'),
    maxLength: 8,
  })
  const contact = fc.record({ value: text, kinds: fc.subarray(['home', 'work', 'cell', 'voice']) })
  const list = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 3 })
  const card = fc.record(
    {
      name: text,
      names: list(text),
      nicknames: list(text),
      emails: list(contact),
      phones: list(contact),
      urls: list(text),
      note: text,
      organization: list(text),
      title: text,
      birthday: text,
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(card, written => {
      const temp = readVCard(writeVCard(written))
      const there = readVCard4(writeVCard4(temp))
      const back = readVCard(writeVCard(there))
      assert.ok(sameCard(back, there))
      assert.ok(sameCard(readVCard4(writeVCard4(back)), there))
    }),
    { numRuns: 1000 },
  )
})
