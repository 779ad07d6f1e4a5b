import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { sameValue } from '../../../src/config/same.ts'
import { type Options, opt } from '../../../src/config/schema.ts'
import { Secret } from '../../../src/config/secret.ts'
import { parseOptions } from '../../../src/config/validate.ts'

const options = {
  on: opt.bool(false, 'A switch.'),
  count: opt.int(5, 'A number.', { min: 1, max: 10, infinity: true }),
  wait: opt.duration('5m', 'A time.', { min: 1000, infinity: true }),
  bytes: opt.size('256 KiB', 'A size.', { max: 1_000_000 }),
  name: opt.text(undefined, 'A text.', { pattern: /^[a-z]+$/, words: 'small letters' }),
  who: opt.oneOf(['all', 'some'], 'all', 'A choice.'),
  tags: opt.list(opt.text(), ['a'], 'Texts.'),
  table: opt.map(opt.object({ size: opt.size('1 KiB', 'A size.') }), 'Names.'),
  near: opt.object({ x: opt.int(1, 'X.'), y: opt.int(undefined, 'Y.') }, 'A place.', { short: 'x' }),
  secret: opt.secret('A secret.'),
  jid: opt.jid(undefined, 'An address.'),
  domain: opt.domain(undefined, 'A domain.'),
  port: opt.port(80, 'A port.'),
  file: opt.path('./x', 'A file.'),
  access: opt.access('all', 'A rule.'),
  shaper: opt.shaper('none', 'A shaper.'),
}

test('an empty record gives every default, in run-time units', () => {
  const value: Options<typeof options> = parseOptions(options)
  assert.deepEqual(value, {
    on: false,
    count: 5,
    wait: 300_000,
    bytes: 262_144,
    name: undefined,
    who: 'all',
    tags: ['a'],
    table: {},
    near: { x: 1, y: undefined },
    secret: undefined,
    jid: undefined,
    domain: undefined,
    port: 80,
    file: path.resolve('x'),
    access: 'all',
    shaper: 'none',
  })
})

test('types follow from the declaration', () => {
  const value = parseOptions(options)
  // Each line is a check by the compiler; the values are checked above.
  const who: 'all' | 'some' = value.who
  const name: string | undefined = value.name
  const size: number | undefined = value.table['a']?.size
  const tags: readonly string[] = value.tags
  // @ts-expect-error a text that may be absent is not a text
  const never: string = value.name
  assert.deepEqual([who, name, size, tags, never], ['all', undefined, undefined, ['a'], undefined])
})

test('written values are turned into run-time values', () => {
  const value = parseOptions(options, {
    count: 'infinity',
    wait: 'infinity',
    bytes: '10 KB',
    tags: 'lone',
    table: { a: null, c: { size: '2 KiB' } },
    near: '4',
    domain: 'Example.ORG',
    secret: 'hush',
    port: '8080',
    on: 'true',
  })
  assert.equal(value.count, Number.POSITIVE_INFINITY)
  assert.equal(value.wait, Number.POSITIVE_INFINITY)
  assert.equal(value.bytes, 10_000)
  assert.deepEqual(value.tags, ['lone'])
  assert.deepEqual(value.table, { a: { size: 1024 }, c: { size: 2048 } })
  assert.deepEqual(value.near, { x: 4, y: undefined })
  assert.equal(value.domain, 'example.org')
  assert.equal(value.secret?.reveal(), 'hush')
  assert.equal(value.port, 8080)
  assert.equal(value.on, true)
})

test('what does not fit is refused, at and beyond every bound', () => {
  const wrong: [string, unknown][] = [
    ['on', 'yes'],
    ['count', 0],
    ['count', 11],
    ['count', 1.5],
    ['count', Number.NaN],
    ['wait', '999ms'],
    ['wait', 5],
    ['wait', '5 parsecs'],
    ['bytes', '1000001'],
    ['bytes', 'infinity'],
    ['name', 'ABC'],
    ['name', 5],
    ['who', 'none'],
    ['tags', [1]],
    ['tags', 'x'.repeat(4097)],
    ['table', []],
    ['near', { z: 1 }],
    ['secret', 5],
    ['jid', 'a b@c'],
    ['domain', 'a..b'],
    ['domain', 'a/b'],
    ['port', 65_536],
    ['port', -1],
    ['file', ''],
    ['access', 'a b'],
    ['unknown', 1],
  ]
  for (const [name, value] of wrong) {
    assert.throws(() => parseOptions(options, { [name]: value }), RangeError, `${name}: ${inspect(value)}`)
  }
  const right: [string, unknown][] = [
    ['count', 1],
    ['count', 10],
    ['wait', '1s'],
    ['bytes', '1 MB'],
    ['tags', 'x'.repeat(4096)],
    ['port', 0],
    ['port', 65_535],
    ['domain', 'münchen.example'],
    ['domain', '[2001:db8::1]'],
    ['jid', 'user@example.org'],
  ]
  for (const [name, value] of right) parseOptions(options, { [name]: value })
})

test('a required option must be given', () => {
  const shape = { cert: opt.required(opt.path(undefined, 'A file.')) }
  assert.throws(() => parseOptions(shape), /cert: is missing: wanted a path/)
  const cert: string = parseOptions(shape, { cert: '/c.pem' }).cert
  assert.equal(cert, '/c.pem')
})

test('defaults are not shared between values', () => {
  const first = parseOptions(options)
  assert.notEqual(first.tags, parseOptions(options).tags)
})

test('a secret prints as [secret] everywhere and compares by its text', () => {
  const secret = new Secret('hush')
  assert.equal(
    `${secret} ${JSON.stringify({ secret })} ${inspect({ secret })}`,
    '[secret] {"secret":"[secret]"} { secret: [secret] }',
  )
  assert.ok(sameValue({ a: [secret, 1] }, { a: [new Secret('hush'), 1] }))
  assert.ok(!sameValue({ a: secret }, { a: new Secret('other') }))
  assert.ok(!sameValue({ a: 1 }, { a: Number.POSITIVE_INFINITY }))
  assert.ok(!sameValue([], {}))
})
