/** The cost of addresses: `node bench/parts/jid.ts`. Prints nanoseconds per operation, the best of several rounds. */
import { Jid } from '../../src/xmpp/jid.ts'

const COUNT = 100_000
const ROUNDS = 7

function texts(count: number, make: (n: number) => string): string[] {
  // As a parser gives them: fresh strings, whose hash nobody has computed yet.
  return Array.from({ length: count }, (_, n) => Buffer.from(make(n)).toString())
}

function measure(name: string, prepare: () => string[], run: (text: string) => unknown): void {
  let best = Number.POSITIVE_INFINITY
  let seen = 0
  for (let round = 0; round < ROUNDS; round++) {
    const input = prepare()
    const start = process.hrtime.bigint()
    for (const text of input) if (run(text) !== undefined) seen++
    best = Math.min(best, Number(process.hrtime.bigint() - start) / input.length)
  }
  console.log(
    `${name.padEnd(34)} ${best.toFixed(0).padStart(6)} ns   (${seen === COUNT * ROUNDS ? 'all valid' : seen})`,
  )
}

let series = 0
const unseen = (make: (n: string) => string) => () => {
  series++
  return texts(COUNT, n => make(`${series}x${n}`))
}
const known = (n: number) => `user${n % 1000}@example.com/phone.${n % 1000}`
const some = Jid.from('juliet@example.com/balcony')
const same = Jid.of('juliet', 'example.com', 'balcony')

measure('parse, cached, new string', () => texts(COUNT, known), Jid.parse)
const strings = texts(1000, known)
measure('parse, cached, same string', () => Array.from({ length: COUNT }, (_, n) => strings[n % 1000]!), Jid.parse)
measure(
  'parse, uncached, ASCII full',
  unseen(n => `user${n}@example.com/phone.${n}`),
  Jid.parse,
)
measure(
  'parse, uncached, ASCII bare',
  unseen(n => `user${n}@example.com`),
  Jid.parse,
)
measure(
  'parse, uncached, capitals',
  unseen(n => `User${n}@Example.com/phone`),
  Jid.parse,
)
measure(
  'parse, uncached, wide local',
  unseen(n => `jos\u00e9${n}@example.com/phone`),
  Jid.parse,
)
measure(
  'parse, uncached, wide domain',
  unseen(n => `user${n}@b\u00fccher.example/phone`),
  Jid.parse,
)
measure(
  'bare + toString',
  () => strings.concat(texts(COUNT - 1000, known)),
  text => Jid.parse(text)!.bare.toString(),
)
measure(
  'equals, not the same object',
  () => new Array<string>(COUNT).fill(''),
  () => some.equals(same),
)
