import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { chance, SEED } from '../support/chance.ts'
import { faultyStore } from '../support/faultystore.ts'
import { Net } from '../support/federated.ts'
import { freeAddress } from '../support/loopback.ts'
import { Cable } from '../support/peers/cable.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

/** A server that others reach by a cable, on a store that outlives it. */
class House {
  readonly name: string
  readonly cable: Cable
  readonly #net: Net
  readonly #ip: string
  readonly #inner = openMemoryStore()
  #disk = faultyStore({ inner: this.#inner })
  server!: TestServer

  private constructor(net: Net, name: string, ip: string, cable: Cable) {
    this.#net = net
    this.name = name
    this.#ip = ip
    this.cable = cable
  }

  static async build(t: TestContext, net: Net, name: string): Promise<House> {
    const [ip, far] = [freeAddress(), freeAddress()]
    const house = new House(net, name, far, await Cable.lay(ip, far, [5269]))
    net.name(ip, name)
    await house.start()
    t.after(async () => {
      house.cable.close()
      await house.server.stop()
    })
    return house
  }

  async start(): Promise<void> {
    this.#disk = faultyStore({ inner: this.#inner })
    const config = { s2s: { retry_max: '200ms' } }
    this.server = await TestServer.start(
      await this.#net.options(this.#ip, [this.name], { store: this.#disk.store, config }),
    )
  }

  /** From one moment to the next nothing is written or heard of it any more; then it is started again. */
  async crash(others: readonly House[]): Promise<void> {
    const { troubles } = this.#disk
    for (const { cable } of [this, ...others]) cable.cut()
    troubles.failWrites = true
    troubles.failDeletes = true
    await this.server.stop()
    await this.start()
  }

  async waiting(): Promise<number> {
    const rows = await this.server.command<{ messages: number }[]>('s2s_out')
    return rows.reduce((sum, { messages }) => sum + messages, 0)
  }
}

async function houses<N extends string[]>(t: TestContext, ...names: N): Promise<{ [I in keyof N]: House }> {
  const net = await Net.start(t)
  const built: House[] = []
  for (const name of names) built.push(await House.build(t, net, `${name}.example`))
  return built as { [I in keyof N]: House }
}

/** A client with stream management, and the messages that it was given. */
async function person(house: House, user: string): Promise<{ client: RawClient; got: string[]; errors: string[] }> {
  const client = await house.server.client(user, { resource: 'home' })
  const got: string[] = []
  const errors: string[] = []
  client.on('stanza', (el: XmlElement) => {
    if (el.name !== 'message') return
    if (el.attrs['type'] === 'error') errors.push(el.attrs['id'] ?? '')
    else got.push(child(el, 'body')?.text ?? '')
  })
  await client.enable()
  client.send('<presence/>')
  return { client, got, errors }
}

function say({ client }: { client: RawClient }, to: string, n: number): void {
  client.send(`<message to='${to}' type='chat' id='m${n}'><body>${n}</body></message>`, String(n))
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i))

test('connections between two servers break at any point: what is said both ways arrives once, in order', async t => {
  const [montague, capulet] = await houses(t, 'montague', 'capulet')
  const romeo = await person(montague, 'romeo')
  const juliet = await person(capulet, 'juliet')
  const { below, one } = chance(SEED)
  const count = 300
  for (let n = 0; n < count; n++) {
    say(romeo, 'juliet@capulet.example', n)
    say(juliet, 'romeo@montague.example', n)
    if (below(20) === 0) await new Promise(resolve => setTimeout(resolve, below(30)))
    if (below(25) === 0) (one(0.5) ? montague : capulet).cable.cut()
  }
  await eventually(() => juliet.got.length >= count && romeo.got.length >= count, 'everything has arrived', 30_000)
  await eventually(async () => (await montague.waiting()) + (await capulet.waiting()) === 0, 'all is acknowledged')
  assert.deepEqual(juliet.got, numbers(count))
  assert.deepEqual(romeo.got, numbers(count))
  assert.deepEqual([...romeo.errors, ...juliet.errors], [])
})

test('... and either server crashes: nothing that was acknowledged is lost, nothing bounces', async t => {
  const [montague, capulet] = await houses(t, 'montague', 'capulet')
  await capulet.server.register('juliet')
  const { below } = chance(SEED)
  const acknowledged = new Set<string>()
  let n = 0
  const speak = async (): Promise<void> => {
    const romeo = await person(montague, 'romeo')
    romeo.client.on('acked', list => {
      for (const { tag } of list) acknowledged.add(tag!)
    })
    for (let i = 0; i < 40; i++) {
      say(romeo, 'juliet@capulet.example', n++)
      if (below(8) === 0) await new Promise(resolve => setTimeout(resolve, below(20)))
    }
    romeo.client.askAck()
    await eventually(() => acknowledged.has(String(n - 1)), 'all is acknowledged')
    assert.deepEqual(romeo.errors, [])
    romeo.client.cut()
  }
  for (let round = 0; round < 3; round++) {
    await speak()
    await capulet.crash([montague])
    await speak()
    await montague.crash([capulet])
  }
  await eventually(async () => (await montague.waiting()) === 0, 'all is acknowledged', 30_000)
  const juliet = await person(capulet, 'juliet')
  await eventually(() => juliet.got.length >= n, 'all is there')
  await juliet.client.ping()
  assert.deepEqual(juliet.got, numbers(n), 'once, and in order')
})

test('a server that stops and starts again is no event: what waited for it arrives', async t => {
  const [montague, capulet] = await houses(t, 'montague', 'capulet')
  await capulet.server.register('juliet')
  const romeo = await person(montague, 'romeo')
  say(romeo, 'juliet@capulet.example', 0)
  await romeo.client.ping()
  await eventually(async () => (await montague.waiting()) === 0)
  await capulet.server.stop()
  for (let n = 1; n <= 5; n++) say(romeo, 'juliet@capulet.example', n)
  await eventually(async () => (await montague.waiting()) === 5)
  await capulet.start()
  const juliet = await person(capulet, 'juliet')
  await eventually(() => juliet.got.length === 6)
  assert.deepEqual(juliet.got, numbers(6))
  assert.deepEqual(romeo.errors, [])
})

test('nobody waits for a server that has fallen silent', async t => {
  const [montague, capulet, verona] = await houses(t, 'montague', 'capulet', 'verona')
  await capulet.server.register('juliet')
  const romeo = await person(montague, 'romeo')
  say(romeo, 'juliet@capulet.example', 0)
  await romeo.client.ping()
  await eventually(async () => (await montague.waiting()) === 0)
  capulet.cable.hold()
  for (let n = 1; n <= 1000; n++) say(romeo, 'juliet@capulet.example', n)
  const benvolio = await person(montague, 'benvolio')
  say(romeo, 'benvolio@montague.example', 0)
  await eventually(() => benvolio.got.length === 1)
  const prince = await person(verona, 'prince')
  say(romeo, 'prince@verona.example', 0)
  await eventually(() => prince.got.length === 1)
  capulet.cable.release()
  const juliet = await person(capulet, 'juliet')
  await eventually(() => juliet.got.length === 1001)
  assert.deepEqual(juliet.got, numbers(1001))
})
