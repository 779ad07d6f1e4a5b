/**
 * The promise to people elsewhere: what hermod has acknowledged to a sender arrives, in order, whatever becomes of the other
 * server or of hermod itself meanwhile.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerProcess } from '../support/launched.ts'
import { login, type Make, missing, type PeerOptions, PeerWorld, person } from '../support/peers/world.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition } from '../support/rawxml.ts'
import { bare, befriend, presenceFrom, says } from '../support/talk.ts'
import { eventually } from '../support/waiting.ts'

const MAKES: readonly Make[] = ['hermod', 'ejabberd', 'prosody']

class Outage {
  readonly hermod: ServerProcess
  readonly other: ServerProcess
  readonly juliet: RawClient
  romeo: RawClient
  #said = 0
  #heard = 0
  /** romeo heard so much before the outage: what he acknowledged last may come again, from his own server. */
  #before = 0

  private constructor(hermod: ServerProcess, other: ServerProcess, juliet: RawClient, romeo: RawClient) {
    this.hermod = hermod
    this.other = other
    this.juliet = juliet
    this.romeo = romeo
  }

  /** juliet of hermod and romeo of the other server, who are friends and have talked. */
  static async start(t: TestContext, make: Make, options: PeerOptions = {}): Promise<Outage> {
    const world = await PeerWorld.start(t)
    const [hermod, other] = await Promise.all([
      world.server('hermod', 'verona.example', { strict: true, env: { HERMOD_S2S_RETRY: '500ms' }, ...options }),
      world.server(make, 'mantua.example', { strict: true }),
    ])
    const [juliet, romeo] = await Promise.all([person(hermod, 'juliet'), person(other, 'romeo')])
    const outage = new Outage(hermod, other, juliet, romeo)
    t.after(() => {
      juliet.cut()
      outage.romeo.cut()
    })
    await befriend(juliet, romeo)
    if (make === 'ejabberd') {
      // Its accounts and rosters are on the disk once it has been stopped.
      await other.stop()
      await other.start()
      await outage.back()
    }
    await outage.says(3)
    await outage.hears()
    outage.#before = outage.#heard
    return outage
  }

  /** juliet says so much; resolves when hermod has acknowledged it. */
  async says(count: number, from = this.juliet): Promise<void> {
    for (let n = 0; n < count; n++) {
      const id = `line ${this.#said++}`
      from.send(`<message to='${bare(this.romeo)}' type='chat' id='${id}'><body>${id}</body></message>`)
    }
    from.askAck()
    await eventually(() => from.sm!.unacked.length === 0, 'acknowledged by hermod')
  }

  /** romeo has heard all that was said: in order, and each but once. */
  async hears(): Promise<void> {
    while (this.#heard < this.#said) {
      const line = await this.romeo.receive(el => el.name === 'message' && child(el, 'body') !== undefined, 30_000)
      const text = child(line, 'body')!.text
      if (Number(text.split(' ')[1]) < this.#before) continue
      assert.equal(text, `line ${this.#heard++}`)
    }
    this.romeo.ack()
    await this.romeo.ping()
    await assert.rejects(
      this.romeo.receive(el => child(el, 'body') !== undefined, 1),
      /nothing that matches/,
    )
  }

  /** romeo is back at a server that was away. */
  async back(): Promise<void> {
    this.romeo = await login(this.other, 'romeo')
  }

  async noErrors(): Promise<void> {
    await this.juliet.ping()
    const wrong = this.juliet.receive(el => el.name === 'message' && el.attrs['type'] === 'error', 1)
    await assert.rejects(wrong, /nothing that matches/)
  }
}

const GONE: Record<string, (server: ServerProcess) => Promise<void>> = {
  'is killed': server => server.kill(),
  'is stopped': server => server.stop(),
}

for (const make of MAKES) {
  for (const [how, end] of Object.entries(GONE)) {
    test(`${make} ${how}, cannot be reached for a while, and is started again`, async t => {
      const why = missing(make)
      if (why) return t.skip(why)
      const outage = await Outage.start(t, make)
      await end(outage.other)
      await outage.says(20)
      // Longer than the longest pause between two attempts.
      await sleep(1500)
      await outage.says(20)
      await outage.other.start()
      await outage.back()
      await outage.hears()
      await outage.noErrors()
      // In the other direction, too; and each is seen again.
      outage.romeo.send(`<message to='${bare(outage.juliet)}' type='chat' id='back'><body>back again</body></message>`)
      await outage.juliet.receive(says('back again'))
      await outage.juliet.receive(presenceFrom(outage.romeo.jid))
    })
  }

  test(`${make} stands still for a while`, async t => {
    const why = missing(make)
    if (why) return t.skip(why)
    const outage = await Outage.start(t, make)
    outage.other.signal('SIGSTOP')
    await outage.says(50)
    await sleep(2000)
    await outage.says(50)
    outage.other.signal('SIGCONT')
    await outage.hears()
    await outage.noErrors()
  })

  test(`hermod is killed while ${make} is away: its queue is still there`, async t => {
    const why = missing(make)
    if (why) return t.skip(why)
    const outage = await Outage.start(t, make)
    await outage.other.kill()
    await outage.says(20)
    await outage.hermod.kill()
    await outage.hermod.start()
    const again = await login(outage.hermod, 'juliet', 'again')
    t.after(() => again.cut())
    await outage.says(20, again)
    await outage.other.start()
    await outage.back()
    await outage.hears()
  })

  test(`hermod is killed as it sends to ${make}`, async t => {
    const why = missing(make)
    if (why) return t.skip(why)
    const outage = await Outage.start(t, make)
    outage.other.signal('SIGSTOP')
    await outage.says(200)
    await outage.hermod.kill()
    outage.other.signal('SIGCONT')
    await outage.hermod.start()
    const lines = new Set<string>()
    // What the other had taken and hermod did not know of is sent again: recognised by hermod alone.
    while (lines.size < 200) {
      const line = await outage.romeo.receive(el => el.name === 'message' && child(el, 'body') !== undefined, 30_000)
      const text = child(line, 'body')!.text
      if (Number(text.split(' ')[1]) < 3) continue
      assert.ok(lines.has(text) ? make !== 'hermod' : text === `line ${3 + lines.size}`, text)
      lines.add(text)
    }
  })
}

for (const make of MAKES) {
  test(`a request to see each other waits while ${make} is away, and while hermod is`, async t => {
    const why = missing(make)
    if (why) return t.skip(why)
    const outage = await Outage.start(t, make)
    const nurse = await person(outage.hermod, 'nurse')
    await outage.other.stop()
    nurse.send(`<presence to='${bare(outage.romeo)}' type='subscribe'/>`)
    await nurse.ping()
    nurse.cut()
    await outage.hermod.stop()
    await outage.hermod.start()
    await outage.other.start()
    await outage.back()
    const again = await login(outage.hermod, 'nurse')
    await outage.romeo.receive(presenceFrom(bare(nurse), 'subscribe'))
    outage.romeo.send(`<presence to='${bare(nurse)}' type='subscribed'/>`)
    await again.receive(presenceFrom(outage.romeo.jid))
    again.cut()
  })
}

test('a server that takes connections and says nothing: the sender is told in the end, and who talks with others is not held up', async t => {
  const why = missing('hermod')
  if (why) return t.skip(why)
  const world = await PeerWorld.start(t)
  const options = { sets: ['s2s.connect_timeout=2s', 's2s.queue_lifetime=4s'] }
  const hermod = await world.server('hermod', 'verona.example', options)
  const other = await world.server('hermod', 'mantua.example')
  const tarpit = await world.server('hermod', 'padua.example')
  tarpit.signal('SIGSTOP')
  const [juliet, romeo] = await Promise.all([person(hermod, 'juliet'), person(other, 'romeo')])
  const nobody = `anyone@${tarpit.domain}`
  juliet.send(`<message to='${nobody}' type='chat' id='lost'><body>hello?</body></message>`)
  juliet.send(`<message to='${bare(romeo)}' type='chat' id='found'><body>hello</body></message>`)
  await romeo.receive(says('hello'))
  await assert.rejects(juliet.request('get', "<ping xmlns='urn:xmpp:ping'/>", nobody), /remote-server-timeout/)
  const error = await juliet.receive(el => el.name === 'message' && el.attrs['type'] === 'error', 20_000)
  assert.deepEqual([error.attrs['id'], errorCondition(error)], ['lost', 'remote-server-timeout'])
  for (const client of [juliet, romeo]) client.cut()
})
