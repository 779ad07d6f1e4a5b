import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { eventsOf, HEADER } from './support.ts'

const NWF = 'not-well-formed'
const RESTRICTED = 'restricted-xml'
const PREFIX = 'bad-namespace-prefix'
const ENCODING = 'unsupported-encoding'
const FORMAT = 'bad-format'
const POLICY = 'policy-violation'

/** What comes after a valid header, and the condition the stream is closed with. */
const INSIDE: [string, string | number[], string][] = [
  ['a comment', '<!-- c -->', RESTRICTED],
  ['a comment in a stanza', '<a><!-- c --></a>', RESTRICTED],
  ['a processing instruction', '<?pi x?>', RESTRICTED],
  ['a processing instruction in a stanza', '<a><?pi x?></a>', RESTRICTED],
  ['a late XML declaration', "<?xml version='1.0'?>", RESTRICTED],
  ['a DOCTYPE', "<!DOCTYPE a [<!ENTITY l 'lol'>]>", RESTRICTED],
  ['a DOCTYPE in a stanza', '<a><!DOCTYPE b></a>', RESTRICTED],
  ['an ENTITY declaration', "<!ENTITY x 'y'>", RESTRICTED],
  ['an undeclared entity in text', '<a>&foo;</a>', RESTRICTED],
  ['an undeclared entity in an attribute', "<a b='&foo;'/>", RESTRICTED],
  ['an entity of HTML', '<a>&nbsp;</a>', RESTRICTED],
  ['an entity whose name never ends', `<a>&${'x'.repeat(40)}`, RESTRICTED],
  ['a bare ampersand', '<a>a & b</a>', NWF],
  ['a bare ampersand before a tag', '<a>a &</a>', NWF],
  ['a bare ampersand in an attribute', "<a b='a & b'/>", NWF],
  ['an empty reference', '<a>&;</a>', NWF],
  ['an empty numeric reference', '<a>&#;</a>', NWF],
  ['an empty hexadecimal reference', '<a>&#x;</a>', NWF],
  ['a reference to NUL', '<a>&#0;</a>', NWF],
  ['a reference to U+0001', '<a>&#1;</a>', NWF],
  ['a reference to U+0001 in an attribute', "<a b='&#x1;'/>", NWF],
  ['a reference to a surrogate', '<a>&#xD800;</a>', NWF],
  ['a reference to U+FFFE', '<a>&#xFFFE;</a>', NWF],
  ['a reference above U+10FFFF', '<a>&#x110000;</a>', NWF],
  ['a huge reference', '<a>&#99999999999999999999;</a>', NWF],
  ['a reference with a capital X', '<a>&#X41;</a>', NWF],
  ['a reference with a letter', '<a>&#4a;</a>', NWF],
  ['a duplicate attribute', "<a x='1' x='2'/>", NWF],
  ['a duplicate attribute among many', `<a ${[...'bcdefghijklmnopqrstuv', 'b'].map(n => `${n}=''`).join(' ')}/>`, NWF],
  ['a duplicate xmlns', "<a xmlns='b' xmlns='c'/>", NWF],
  ['a duplicate by expanded name', "<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>", NWF],
  ['an unbound element prefix', '<x:b/>', PREFIX],
  ['an unbound element prefix inside', '<a><x:b/></a>', PREFIX],
  ['an unbound attribute prefix', "<a x:b='1'/>", PREFIX],
  ['a prefix out of scope', "<a><b xmlns:p='u'/><p:c/></a>", PREFIX],
  ['an element with the prefix xmlns', '<xmlns:a/>', PREFIX],
  ['xmlns:xmlns', "<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>", NWF],
  ['a prefix bound to the xmlns namespace', "<a xmlns:b='http://www.w3.org/2000/xmlns/'/>", NWF],
  ['the default bound to the xmlns namespace', "<a xmlns='http://www.w3.org/2000/xmlns/'/>", NWF],
  ['the default bound to the xml namespace', "<a xmlns='http://www.w3.org/XML/1998/namespace'/>", NWF],
  ['xml rebound', "<a xmlns:xml='urn:x'/>", NWF],
  ['another prefix for the xml namespace', "<a xmlns:y='http://www.w3.org/XML/1998/namespace'/>", NWF],
  ['an empty prefix binding', "<a xmlns:p=''/>", NWF],
  ['xmlns: without a prefix', "<a xmlns:='u'/>", NWF],
  ['two colons', '<a:b:c/>', NWF],
  ['a leading colon', '<:a/>', NWF],
  ['a trailing colon', '<a:/>', NWF],
  ['a digit after the colon', "<a:1 xmlns:a='u'/>", NWF],
  ['a name that begins with a digit', '<1b/>', NWF],
  ['a name that begins with a hyphen', '<-b/>', NWF],
  ['a name with a sign', '<a$b/>', NWF],
  ['a name with a multiplication sign', '<a×/>', NWF],
  ['an attribute name that begins with a digit', "<a 1='x'/>", NWF],
  ['< in an attribute value', "<a b='<'/>", NWF],
  ['< in a tag', '<a <b/>', NWF],
  ['<<', '<<a/>', NWF],
  ['<>', '<>', NWF],
  ['< >', '< a/>', NWF],
  ['</>', '<a></>', NWF],
  ['a mismatched end tag', '<a></b>', NWF],
  ['an end tag in another case', '<a></A>', NWF],
  ['an end tag that is longer', '<a></ab>', NWF],
  ['an end tag with attributes', "<a></a b='c'>", NWF],
  ['an end tag with a space before the name', '<a></ a>', NWF],
  ['an end tag with another prefix', "<p:a xmlns:p='u' xmlns:q='u'></q:a>", NWF],
  ['an end tag of nothing', '</a>', NWF],
  ['crossed tags', '<a><b></a></b>', NWF],
  [']]> in text', '<a>]]></a>', NWF],
  [']]]> in text', '<a>]]]></a>', NWF],
  ['an unquoted attribute', '<a c=d>', NWF],
  ['an attribute without a value', '<a c>', NWF],
  ['an attribute without a value, empty tag', '<a c/>', NWF],
  ['no white space between attributes', "<a b='1'c='2'/>", NWF],
  ['a quote out of place', "<a b'>", NWF],
  ['a slash out of place', '<a / b="c">', NWF],
  ['NUL in text', '<a>\0</a>', NWF],
  ['U+0001 in text', '<a>\u0001</a>', NWF],
  ['U+000B in an attribute', "<a b='\u000b'/>", NWF],
  ['U+001F in a tag', '<a\u001fb="c"/>', NWF],
  ['U+0001 between stanzas', '\u0001', NWF],
  ['U+FFFE in text', '<a>\uFFFE</a>', NWF],
  ['U+FFFF in an attribute', "<a b='\uFFFF'/>", NWF],
  ['U+FFFF in CDATA', '<a><![CDATA[\uFFFF]]></a>', NWF],
  ['U+0002 in CDATA', '<a><![CDATA[\u0002]]></a>', NWF],
  ['a CDATA section misspelt', '<a><![CDATE[x]]></a>', NWF],
  ['a conditional section', '<a><![INCLUDE[x]]></a>', NWF],
  ['a CDATA section between stanzas', '<![CDATA[x]]>', FORMAT],
  ['text between stanzas', 'hello', FORMAT],
  ['text after a stanza', '<a/>hello', FORMAT],
  ['a reference between stanzas', '&#32;', FORMAT],
  ['a byte order mark between stanzas', '\uFEFF', FORMAT],
  ['an overlong sequence', [...Buffer.from('<a>'), 0xc0, 0xaf], ENCODING],
  ['an overlong sequence of three', [...Buffer.from('<a>'), 0xe0, 0x80, 0xaf], ENCODING],
  ['a surrogate in UTF-8', [...Buffer.from('<a>'), 0xed, 0xa0, 0x80], ENCODING],
  ['a code above U+10FFFF', [...Buffer.from('<a>'), 0xf4, 0x90, 0x80, 0x80], ENCODING],
  ['a stray continuation byte', [...Buffer.from('<a>'), 0x80], ENCODING],
  ['a truncated sequence', [...Buffer.from('<a>'), 0xe2, 0x82, ...Buffer.from('</a>')], ENCODING],
  ['a byte that is never UTF-8', [...Buffer.from('<a b="'), 0xff], ENCODING],
  ['latin1', Buffer.from('<a>é</a>', 'latin1').toJSON().data, ENCODING],
  ['an element after the stream', '</stream:stream><a/>', NWF],
  ['text after the stream', '</stream:stream>x', NWF],
  ['a second end of the stream', '</stream:stream></stream:stream>', NWF],
  ['many attributes', `<a ${Array.from({ length: 33 }, (_, i) => `a${i}=''`).join(' ')}/>`, POLICY],
  ['a deep tree', '<a>'.repeat(33), POLICY],
]

/** Whole inputs: what is wrong is in the header. */
const HEADERS: [string, string, string][] = [
  ['no XML at all', 'GET / HTTP/1.1\r\n', NWF],
  ['white space before the XML declaration', ` ${HEADER}`, RESTRICTED],
  ['a byte order mark', `\uFEFF${HEADER}`, NWF],
  ['a DOCTYPE first', '<!DOCTYPE stream:stream>', RESTRICTED],
  ['a comment first', '<!---->', RESTRICTED],
  ['another PI first', '<?xml-stylesheet href="x"?><a/>', RESTRICTED],
  ['UTF-16 declared', "<?xml version='1.0' encoding='UTF-16'?><a>", ENCODING],
  ['latin1 declared', '<?xml version="1.0" encoding="ISO-8859-1"?><a>', ENCODING],
  ['UTF-16 sent', '<\0?\0x\0m\0l\0', NWF],
  ['a declaration without version', "<?xml encoding='UTF-8'?><a>", NWF],
  ['XML 1.1', "<?xml version='1.1'?><a>", NWF],
  ['a declaration in the wrong order', "<?xml encoding='UTF-8' version='1.0'?><a>", NWF],
  ['a declaration that never ends', `<?xml version='1.0'${' '.repeat(400)}`, NWF],
  ['two declarations', "<?xml version='1.0'?><?xml version='1.0'?>", RESTRICTED],
  ['an unbound prefix on the root', "<stream:stream xmlns='jabber:client'>", PREFIX],
  ['a header too large', `<stream:stream a='${'x'.repeat(1000)}`, POLICY],
  ['white space for ever', ' '.repeat(1001), POLICY],
  ['a closed root, then another', '<a/><b/>', NWF],
]

describe('hostile input is refused, with the condition it deserves', () => {
  for (const [what, input, condition] of INSIDE) {
    test(what, () => check(Buffer.concat([Buffer.from(HEADER), Buffer.from(input as string)]), condition))
  }
})

describe('hostile headers are refused', () => {
  for (const [what, input, condition] of HEADERS) test(what, () => check(Buffer.from(input), condition))
})

function check(input: Buffer, condition: string): void {
  const whole = eventsOf(input)
  assert.deepEqual(whole.at(-1), ['error', condition])
  assert.equal(whole.filter(([kind]) => kind === 'error').length, 1)
  assert.deepEqual(eventsOf(input, 'bytes'), whole, 'byte by byte it is the same')
}
