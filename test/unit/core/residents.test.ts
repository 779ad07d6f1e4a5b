import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Residents } from '../../../src/core/residents.ts'
import { settled } from '../../support/waiting.ts'

class Actor {
  idle = true
  weight = 0
}

/** Everybody is there but `nobody`; who is loaded weighs what the name says: `heavy 500` 500 bytes. */
class House {
  readonly left: Actor[] = []
  loads = 0
  broken = false
  gate: Promise<void> | undefined
  readonly residents = new Residents<string, Actor>({
    load: name => this.#load(name),
    idle: actor => actor.idle,
    weight: actor => actor.weight,
    left: actor => void this.left.push(actor),
    max: 10,
    maxBytes: 1000,
  })

  async #load(name: string): Promise<Actor | undefined> {
    this.loads++
    await this.gate
    if (this.broken) throw new Error('broken')
    if (name === 'nobody') return undefined
    const actor = new Actor()
    this.grow(actor, Number(name.split(' ')[1] ?? 0))
    return actor
  }

  grow(actor: Actor, bytes: number): void {
    actor.weight += bytes
    this.residents.grew(bytes)
  }

  async enter(...names: string[]): Promise<void> {
    for (const name of names) await this.residents.need(name)
    await settled(1)
  }

  has(name: string): boolean {
    return this.residents.get(name) !== undefined
  }
}

test('an actor is loaded once for all who need it, and at once there for who comes later', async () => {
  const { residents } = new House()
  const [one, other] = await Promise.all([residents.need('juliet'), residents.need('juliet')])
  assert.ok(one)
  assert.equal(one, other)
  assert.equal(residents.need('juliet'), one)
  assert.equal(await residents.need('nobody'), undefined)
  assert.equal(residents.size, 1)
})

test('a load that fails is tried again', async () => {
  const house = new House()
  house.broken = true
  await assert.rejects(async () => house.residents.need('juliet'), /broken/)
  house.broken = false
  assert.ok(await house.residents.need('juliet'))
  assert.equal(house.loads, 2)
})

test('so many idle ones stay; those that came first leave, those in use do not', async () => {
  const house = new House()
  await house.enter('first')
  house.residents.get('first')!.idle = false
  const names = Array.from({ length: 11 }, (_, n) => `guest${n}`)
  await house.enter(...names)
  assert.equal(house.residents.size, 10)
  assert.deepEqual(
    names.filter(name => !house.has(name)),
    ['guest0', 'guest1'],
  )
  assert.ok(house.has('first'))
  assert.equal(house.left.length, 2)
})

test('idle ones have so many bytes together, also where they grow later: the heavy leave, in order', async () => {
  const house = new House()
  const names = ['light', 'heavy 400', 'busy 300', 'heavy 300']
  const there = () => names.filter(name => house.has(name))
  await house.enter(...names)
  const grow = async (name: string, bytes: number) => {
    house.grow(house.residents.get(name)!, bytes)
    await settled(1)
  }
  house.residents.get('busy 300')!.idle = false
  await grow('light', 50)
  await grow('busy 300', 2000)
  assert.deepEqual(there(), names, 'one that is in use does not count')
  await grow('heavy 300', 300)
  assert.deepEqual(there(), ['light', 'busy 300', 'heavy 300'])
  house.residents.get('busy 300')!.idle = true
  await grow('busy 300', 351)
  assert.deepEqual(there(), ['light', 'heavy 300'])
})

test('one that is ended leaves at once, and is loaded anew for who comes after that', async () => {
  const house = new House()
  await house.enter('juliet')
  const before = house.residents.get('juliet')
  house.residents.end('juliet')
  assert.deepEqual(house.left, [before])
  assert.notEqual(await house.residents.need('juliet'), before)
})

test('one that is ended while it is loaded never comes: who waits gets none, who comes later another', async () => {
  const house = new House()
  const gate = Promise.withResolvers<void>()
  house.gate = gate.promise
  const waiting = house.residents.need('juliet')
  house.residents.end('juliet')
  const later = house.residents.need('juliet')
  gate.resolve()
  assert.equal(await waiting, undefined)
  assert.equal(house.left.length, 1)
  assert.ok(await later)
  assert.equal(house.residents.get('juliet'), await later)
  assert.equal(house.loads, 2)
})
