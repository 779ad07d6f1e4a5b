/** The way of a stanza through core, without streams: `node bench/parts/way.ts`. Best of several rounds. */
import { Hooks } from '../../src/core/hooks.ts'
import { FakeSession, host, message, silent, stanza } from '../../test/unit/core/support.ts'

const COUNT = 50_000
const ROUNDS = 7

async function measure(name: string, run: () => unknown, per = 1, after: () => unknown = () => {}): Promise<void> {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < COUNT; i++) {
      const done = run()
      if (done instanceof Promise) await done
    }
    best = Math.min(best, Number(process.hrtime.bigint() - start) / COUNT / per)
    await after()
  }
  console.log(`${name.padEnd(44)} ${best.toFixed(0).padStart(6)} ns`)
}

declare module '../../src/core/hooks.ts' {
  interface HookMap {
    bench: Async<{ n: number }>
  }
}

function chain(handlers: number, handler: (event: { n: number }) => void | Promise<void>): Hooks {
  const hooks = new Hooks(silent)
  for (let i = 0; i < handlers; i++) hooks.add(`mod_${i}`, 'bench', handler)
  return hooks
}

const event = { n: 0 }
const sync = (e: { n: number }): void => {
  e.n++
}
for (const handlers of [0, 1, 6]) {
  const hooks = chain(handlers, sync)
  await measure(`hook, ${handlers} handlers`, () => hooks.run('bench', event))
}
const promises = chain(6, async e => sync(e))
await measure('hook, 6 handlers that promise', () => promises.run('bench', event))

const example = host()
const juliet = (await example.account('juliet'))!
const balcony = new FakeSession(juliet, 'balcony', 5)
await juliet.queue.attach(balcony)
const headline = message('juliet@example.org', 'headline')
await measure(
  'route a headline to one session',
  () => example.router.route(headline),
  1,
  () => balcony.stanzas.splice(0),
)
const chat = message('juliet@example.org', 'chat')
await measure('route a message, queued and confirmed', () => {
  const done = example.router.route(chat)
  balcony.confirm(juliet.queue)
  balcony.stanzas.length = 0
  balcony.got.length = 0
  return done
})

const many = (await example.account('many'))!
const sessions = Array.from({ length: 50 }, (_, i) => new FakeSession(many, `r${i}`, 5))
const presence = stanza("<presence from='romeo@example.org/o' to='many@example.org'><show>away</show></presence>")
await measure(
  'fan-out of presence to 50 sessions, each',
  () => {
    const done = example.router.route(presence)
    for (const session of sessions) session.stanzas.length = 0
    return done
  },
  50,
)
