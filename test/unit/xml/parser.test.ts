import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Element, parseElement, StreamParser, serialize, XmlError } from '../../../src/xml/index.ts'
import { bytesOf, eventsOf, HEADER, inside, LIMITS, plain, recorder } from './support.ts'

const accepted: [string, string, string][] = [
  ['a stanza', "<message to='a'><body>hi</body></message>", "<message to='a'><body>hi</body></message>"],
  ['an empty tag and its long form', '<a/><b></b >', '<a/>|<b/>'],
  ['white space kept in text', '<a> \n\t</a>', '<a> \n\t</a>'],
  ['white space in tags', '<a  b = \'1\'\n\tc="2" ></a\t>', "<a b='1' c='2'/>"],
  ['the five entities', '<a>&lt;&gt;&amp;&apos;&quot;</a>', `<a>&lt;&gt;&amp;'"</a>`],
  ['numeric references', "<a b='&#65;&#x42;'>&#x1F600;&#233;</a>", "<a b='AB'>😀é</a>"],
  ['a reference is no markup', '<a>&#60;b/&#62;</a>', '<a>&lt;b/&gt;</a>'],
  ['CDATA is text', '<a>x<![CDATA[<b>&amp;]]]]><![CDATA[>]]>y</a>', '<a>x&lt;b&gt;&amp;amp;]]&gt;y</a>'],
  ['an empty CDATA section', '<a><![CDATA[]]></a>', '<a/>'],
  ['brackets in text', '<a>[]] ]]] ></a>', '<a>[]] ]]] &gt;</a>'],
  ['line ends', '<a>1\r\n2\r3\n4\r\r\n5&#13;</a>', '<a>1\n2\n3\n4\n\n5&#xD;</a>'],
  ['line ends in CDATA', '<a><![CDATA[1\r\n2\r]]></a>', '<a>1\n2\n</a>'],
  ['attribute values normalised', "<a b='1\r\n2\t3\n4\r5&#10;'/>", "<a b='1 2 3 4 5&#xA;'/>"],
  ['> and quotes in a value', `<a b='>"' c=">'"/>`, `<a b='>"' c='>&apos;'/>`],
  ['names beyond ASCII', "<été ß='1'>日本</été>", "<été ß='1'>日本</été>"],
  ['a name with every kind of character', '<_a-b.c1·/>', '<_a-b.c1·/>'],
  ['characters of four bytes', "<a b='😀'>𝄞</a>", "<a b='😀'>𝄞</a>"],
  ['DEL and C1, which XML 1.0 allows', '<a>\u007f\u0085</a>', '<a>\u007f\u0085</a>'],
  ['a noncharacter of another plane', '<a>\u{1FFFE}</a>', '<a>\u{1FFFE}</a>'],
  ['xml:lang', "<a xml:lang='en'/>", "<a xml:lang='en'/>"],
  ['xml declared as itself', "<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang='x'/>", "<a xml:lang='x'/>"],
  ['a name of the object prototype', "<a __proto__='1' constructor='2'/>", "<a __proto__='1' constructor='2'/>"],

  ['the content namespace spelt out', "<a xmlns='jabber:client'><b xmlns='jabber:client'/></a>", '<a><b/></a>'],
  ['another namespace', "<a xmlns='u'><b xmlns='u'/><c/></a>", "<a xmlns='u'><b/><c/></a>"],
  [
    'back to the content namespace',
    "<a><b xmlns='u'><c xmlns='jabber:client'/></b></a>",
    "<a><b xmlns='u'><c xmlns='jabber:client'/></b></a>",
  ],
  ['no namespace', "<a xmlns=''><b/></a>", "<a xmlns=''><b/></a>"],
  ['a prefix for the content namespace', "<c:a xmlns:c='jabber:client'><c:b/></c:a>", '<a><b/></a>'],
  ['a prefix for another', "<p:a xmlns:p='u'><p:b/><c/></p:a>", "<a xmlns='u'><b/><c xmlns='jabber:client'/></a>"],
  [
    'a prefix of the header',
    '<stream:features><stream:x/><y/></stream:features>',
    "<features xmlns='http://etherx.jabber.org/streams'><x/><y xmlns='jabber:client'/></features>",
  ],
  ['a prefix redeclared', "<p:a xmlns:p='u'><p:a xmlns:p='v'/><p:a/></p:a>", "<a xmlns='u'><a xmlns='v'/><a/></a>"],
  ['a default beside a prefix', "<p:a xmlns:p='u' xmlns='v'><b/></p:a>", "<a xmlns='u'><b xmlns='v'/></a>"],
  ['the declaration after its use', "<p:a p:x='1' xmlns:p='u'/>", "<a xmlns='u' p:x='1' xmlns:p='u'/>"],
  ['an attribute with a prefix from above', "<a xmlns:p='u'><b p:x='1'/></a>", "<a><b p:x='1' xmlns:p='u'/></a>"],
  [
    'the same local name twice',
    "<a x='0' xmlns:p='u' xmlns:q='v' p:x='1' q:x='2'/>",
    "<a x='0' p:x='1' q:x='2' xmlns:p='u' xmlns:q='v'/>",
  ],
  ['an unused declaration', "<a xmlns:p='u'/>", '<a/>'],
  ['the xml prefix on an element', '<xml:a/>', "<a xmlns='http://www.w3.org/XML/1998/namespace'/>"],
]

describe('what is accepted, and in which form', () => {
  for (const [what, input, expected] of accepted) {
    test(what, () => {
      assert.deepEqual(inside(input), { xml: expected.split('|'), condition: undefined })
      assert.deepEqual(eventsOf(HEADER + input, 'bytes'), eventsOf(HEADER + input))
    })
  }
})

test('the elements are of the one class, linked to their parents, and text is one node', () => {
  const { parser, elements } = recorder()
  parser.write(bytesOf(`${HEADER}<a>1&amp;<![CDATA[2]]>3<b/>4</a>`))
  const [a] = elements
  assert.ok(a instanceof Element)
  assert.equal(a.parent, null)
  assert.deepEqual(
    a.children.filter(child => typeof child === 'string'),
    ['1&23', '4'],
  )
  assert.equal(a.getChild('b')?.parent, a)
})

test('the header: root, content namespace, end', () => {
  const { parser, events } = recorder()
  assert.equal(parser.contentNs, '')
  parser.write(
    bytesOf(
      `<?xml version="1.0" encoding='utf-8' standalone='yes' ?>\n<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:server' version='1.0' to='b'>`,
    ),
  )
  parser.write(bytesOf('</s:stream>\n'))
  const root = {
    name: 'stream',
    attrs: { xmlns: 'http://etherx.jabber.org/streams', version: '1.0', to: 'b' },
    children: [],
  }
  assert.deepEqual(events, [['open', root, 'jabber:server'], ['close']])
})

test('a root that is an empty tag opens and closes', () => {
  assert.deepEqual(
    eventsOf("<stream xmlns='x'/>").map(([kind]) => kind),
    ['open', 'close'],
  )
})

test('white space between stanzas is told, and costs nothing of the limit', () => {
  const { parser, events, whitespace } = recorder({ stanzaBytes: 8 })
  parser.write(bytesOf(HEADER))
  for (let i = 0; i < 100; i++) parser.write(bytesOf(' '))
  parser.write(bytesOf('\n<a/>\r\n'))
  assert.equal(whitespace(), 102)
  assert.deepEqual(
    events.map(([kind]) => kind),
    ['open', 'element'],
  )
})

describe('stop', () => {
  test('in a callback: nothing more is told, and the rest is there', () => {
    const seen: string[] = []
    const parser: StreamParser = new StreamParser(
      {
        onOpen: () => {},
        onElement: el => {
          seen.push(el.name)
          if (el.name === 'starttls') parser.stop()
        },
        onClose: () => assert.fail('told after stop'),
        onError: () => assert.fail('told after stop'),
      },
      LIMITS,
    )
    // The injected part ends in the middle of a character, then in bytes that are not UTF-8: all of it is the rest.
    const injected = Buffer.from([...bytesOf("<iq id='injected'/><\0é</stream:stream>"), 0xe2, 0x82, 0xff])
    parser.write(Buffer.concat([bytesOf(`${HEADER}<a/><starttls/>`), injected]))
    assert.deepEqual(seen, ['a', 'starttls'])
    assert.deepEqual(parser.rest(), injected)
    assert.equal(parser.ended, true)
    parser.write(bytesOf('<b/>'))
    parser.resume()
    assert.deepEqual(seen, ['a', 'starttls'])
    assert.deepEqual(parser.rest(), injected)
  })

  test('in onOpen', () => {
    const parser: StreamParser = new StreamParser(
      {
        onOpen: () => parser.stop(),
        onElement: () => assert.fail(),
        onClose: () => assert.fail(),
        onError: () => assert.fail(),
      },
      LIMITS,
    )
    parser.write(bytesOf(`${HEADER}<a/>`))
    assert.equal(parser.rest().toString(), '<a/>')
  })

  test('between writes: the unfinished token is the rest', () => {
    const { parser } = recorder()
    parser.write(bytesOf(`${HEADER}<a/><b c='`))
    parser.write(bytesOf('d'))
    parser.stop()
    assert.equal(parser.rest().toString(), "<b c='d")
  })
})

describe('pause', () => {
  test('keeps what is written, in order, until resume', () => {
    const seen: string[] = []
    const parser: StreamParser = new StreamParser(
      {
        onOpen: () => {},
        onElement: el => {
          seen.push(el.text())
          parser.pause()
        },
        onClose: () => void seen.push('close'),
        onError: error => assert.fail(error),
      },
      LIMITS,
    )
    const bytes = bytesOf(`${HEADER}<a>é</a><a>ü</a><a>3</a></stream:stream>`)
    // One cut in the middle of a two-byte character, while paused.
    const cut = bytes.indexOf('ü') + 1
    parser.write(bytes.subarray(0, cut))
    assert.deepEqual(seen, ['é'])
    parser.write(bytes.subarray(cut))
    assert.deepEqual(seen, ['é'])
    assert.equal(parser.rest().toString(), '<a>ü</a><a>3</a></stream:stream>')
    parser.resume()
    assert.deepEqual(seen, ['é', 'ü'])
    parser.resume()
    assert.deepEqual(seen, ['é', 'ü', '3'])
    parser.resume()
    assert.deepEqual(seen, ['é', 'ü', '3', 'close'])
  })

  test('at the very end of a chunk loses neither an unfinished character nor a bad byte', () => {
    for (const tail of [[0xc3], [0xff]]) {
      const { parser, events } = recorder()
      parser.write(bytesOf(HEADER))
      parser.pause()
      parser.write(Buffer.from([...bytesOf('<a/>'), ...tail]))
      parser.resume()
      parser.write(Buffer.from([0xa9]))
      const condition = tail[0] === 0xff ? 'unsupported-encoding' : 'bad-format'
      assert.deepEqual(
        events.slice(1).map(event => event.at(-1)),
        [{ name: 'a', attrs: {}, children: [] }, condition],
      )
    }
  })

  test('resume and write inside a callback do not recurse', () => {
    let depth = 0
    const seen: string[] = []
    const parser: StreamParser = new StreamParser(
      {
        onOpen: () => {},
        onElement: el => {
          assert.equal(++depth, 1)
          seen.push(el.name)
          if (el.name === 'a') parser.write(bytesOf('<c/>'))
          parser.pause()
          parser.resume()
          depth--
        },
        onClose: () => {},
        onError: error => assert.fail(error),
      },
      LIMITS,
    )
    parser.write(bytesOf(`${HEADER}<a/><b/>`))
    assert.deepEqual(seen, ['a', 'b', 'c'])
  })
})

test('an exception of the handler goes to the writer, and the parser can go on', () => {
  const seen: string[] = []
  const parser = new StreamParser(
    {
      onOpen: () => {},
      onElement: el => {
        seen.push(el.name)
        if (el.name === 'a') throw new RangeError('handler')
      },
      onClose: () => {},
      onError: error => assert.fail(error),
    },
    LIMITS,
  )
  assert.throws(() => parser.write(bytesOf(`${HEADER}<a/><b/>`)), RangeError)
  parser.write(bytesOf('<c/>'))
  assert.deepEqual(seen, ['a', 'b', 'c'])
})

describe('framed (RFC 7395)', () => {
  const framed = (...writes: string[]) => {
    const { parser, events } = recorder({}, { framed: true })
    for (const write of writes) parser.write(bytesOf(write))
    return events
  }
  const el = (name: string, attrs: Record<string, string> = {}) => ['element', { name, attrs, children: [] }]

  test('each write is a document', () => {
    assert.deepEqual(
      framed("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", "<iq xmlns='jabber:client' id='1'/> ", '<x/>'),
      [el('open', { xmlns: 'urn:ietf:params:xml:ns:xmpp-framing' }), el('iq', { id: '1' }), el('x', { xmlns: '' })],
    )
  })

  test('prefixes do not outlive their document', () => {
    assert.deepEqual(framed("<p:a xmlns:p='jabber:client'/>", '<p:a/>'), [el('a'), ['error', 'bad-namespace-prefix']])
  })

  test('a document that is unfinished, empty, or two', () => {
    assert.deepEqual(framed('<a>'), [['error', 'not-well-formed']])
    assert.deepEqual(framed("<a xmlns='jabber:client'/><"), [el('a'), ['error', 'not-well-formed']])
    assert.deepEqual(framed("<a b='"), [['error', 'not-well-formed']])
    assert.deepEqual(framed(' '), [['error', 'not-well-formed']])
    assert.deepEqual(framed("<a xmlns='jabber:client'/><b/>"), [el('a'), ['error', 'not-well-formed']])
    assert.deepEqual(framed('</a>'), [['error', 'not-well-formed']])
    assert.deepEqual(framed('x'), [['error', 'not-well-formed']])
    const { parser, events } = recorder({}, { framed: true })
    parser.write(Buffer.from([...bytesOf("<a xmlns='jabber:client'/>"), 0xc3]))
    assert.deepEqual(events.at(-1), ['error', 'not-well-formed'])
  })

  test('the limit is that of stanzas, for each document anew', () => {
    const { parser, events } = recorder({ stanzaBytes: 50 }, { framed: true })
    const document = "<a xmlns='jabber:client'>xxxxxxxxxxxxxxxxxxxxx</a>"
    assert.equal(document.length, 50)
    for (let i = 0; i < 3; i++) parser.write(bytesOf(document))
    assert.deepEqual(
      events.map(([kind]) => kind),
      ['element', 'element', 'element'],
    )
    parser.write(bytesOf(document.replace('x<', 'xx<')))
    assert.deepEqual(events.at(-1), ['error', 'policy-violation'])
  })

  test('another content namespace', () => {
    const { parser, elements } = recorder({}, { framed: true, contentNs: 'http://jabber.org/protocol/httpbind' })
    parser.write(bytesOf("<body xmlns='http://jabber.org/protocol/httpbind'><iq xmlns='jabber:client'/></body>"))
    assert.deepEqual(elements.map(plain), [
      { name: 'body', attrs: {}, children: [{ name: 'iq', attrs: { xmlns: 'jabber:client' }, children: [] }] },
    ])
  })
})

describe('parseElement', () => {
  for (const text of [
    "<message to='a'><body>hi</body></message>",
    "<message><body xmlns=''/><x xmlns='u'><message xmlns='jabber:client'/></x></message>",
    "<a xmlns=''/>",
  ]) {
    test(`gives back what was serialised: ${text}`, () => assert.equal(serialize(parseElement(text)), text))
  }

  test('a stanza with its namespace spelt out is a stanza', () => {
    assert.equal(serialize(parseElement(Buffer.from("<iq xmlns='jabber:client'><b/></iq>"))), '<iq><b/></iq>')
  })

  for (const text of ['', ' ', '<a', '<a>', '<a/><b/>', 'a', '<!-- --><a/>', '<p:a/>']) {
    test(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => parseElement(text), XmlError))
  }
})
