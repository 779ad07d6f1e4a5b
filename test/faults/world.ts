/** One run: a server, or two that federate, their people, their traffic, a scenario's faults, and at the end the reckoning. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Chance, chance } from '../support/chance.ts'
import type { ServerProcess } from '../support/launched.ts'
import type { Cable } from '../support/peers/cable.ts'
import type { SmallDisk } from './disk.ts'
import { Ledger } from './ledger.ts'
import { type Person, Recipient, Repeater, Sender, type Surroundings } from './people.ts'

export interface WorldOptions {
  servers: readonly ServerProcess[]
  /** On which of them there are senders, and recipients. */
  homes: { senders: readonly ServerProcess[]; recipients: readonly ServerProcess[] }
  seed: number
  /** How long faults and traffic last, in seconds. */
  seconds: number
  senders: number
  /** Recipients with stream management, and without. */
  recipients: number
  plain: number
  /** Messages a second, of all senders together. */
  rate: number
  /** The server's resumption timeout in ms. */
  resumeTimeout: number
  disk?: SmallDisk
  /** What these keep is on the disk only once they have been stopped in order. */
  late?: readonly ServerProcess[]
  /** What lies between two servers. */
  cables?: readonly Cable[]
  /** Senders beside the others who always say the same. */
  repeaters: number
  /** Restart the server before the last login: nothing that was delivered may be left in the store either. */
  restartAtEnd: boolean
  namedSenders: boolean
  lateEnable: boolean
}

const TICK = 10
const PING_EVERY = 150
/** Longest wait for acknowledgements, and for messages that do not come although they should, in ms. */
const ACK_PATIENCE = 15_000
const DELIVERY_PATIENCE = 10_000
/** A resumption timeout up to this many ms is waited for at the end; of a longer one, the end is not seen. */
const LATE_PATIENCE = 4000

export class World implements Surroundings {
  readonly ledger = new Ledger()
  readonly servers: readonly ServerProcess[]
  readonly chance: Chance
  readonly senders: Sender[]
  readonly recipients: Recipient[]
  readonly options: WorldOptions
  readonly patience = 30_000
  /** False once the time for faults is over. */
  running = false
  private deadline = 0
  private traffic: NodeJS.Timeout | undefined
  private pings: NodeJS.Timeout | undefined
  private count = 0
  private due = 0

  constructor(options: WorldOptions) {
    this.options = options
    this.servers = options.servers
    this.chance = chance(options.seed)
    const home = (who: keyof WorldOptions['homes'], n: number) => options.homes[who][n % options.homes[who].length]!
    this.senders = [
      ...Array.from({ length: options.senders }, (_, i) => new Sender(this, `s${i}`, home('senders', i))),
      ...Array.from({ length: options.repeaters }, (_, i) => new Repeater(this, `c${i}`, home('senders', i))),
    ]
    const all = options.recipients + options.plain
    this.recipients = Array.from({ length: all }, (_, i) => {
      const sm = i < options.recipients
      return new Recipient(this, sm ? `r${i}` : `p${i}`, home('recipients', i), sm)
    })
  }

  get people(): Person[] {
    return [...this.senders, ...this.recipients]
  }

  get namedSenders(): boolean {
    return this.options.namedSenders
  }

  get lateEnable(): boolean {
    return this.options.lateEnable
  }

  hopeless(): string | undefined {
    return this.servers.find(server => server.died !== undefined)?.died
  }

  /** Everybody registered, online, and the first messages on their way. */
  async begin(): Promise<void> {
    await Promise.all(this.servers.map(server => server.start()))
    await Promise.all(this.people.map(async person => person.register()))
    for (const server of this.options.late ?? []) {
      await server.stop()
      await server.start()
    }
    await Promise.all(this.people.map(async person => person.arrive('fresh')))
    this.running = true
    this.deadline = performance.now() + this.options.seconds * 1000
    this.traffic = setInterval(() => this.talk(), TICK)
    this.pings = setInterval(() => this.pingAll(), PING_EVERY)
  }

  /** Waits for a while; false when the time for faults is over. */
  async pause(low: number, high: number): Promise<boolean> {
    const left = this.deadline - performance.now()
    await sleep(Math.max(0, Math.min(left, this.chance.int(low, high))))
    if (performance.now() >= this.deadline) this.running = false
    return this.running
  }

  /** Faults take their time even when the end is near. */
  async away(low: number, high: number): Promise<void> {
    await sleep(this.chance.int(low, high))
  }

  /** Runs lanes of faults side by side; when one fails, ends the others, and rejects when all have ended. */
  async together(lanes: readonly Promise<void>[]): Promise<void> {
    const watched = lanes.map(lane =>
      lane.catch((error: unknown) => {
        this.deadline = 0
        throw error
      }),
    )
    for (const outcome of await Promise.allSettled(watched)) {
      if (outcome.status === 'rejected') throw outcome.reason
    }
  }

  /** Someone of these who is online, if there is one. */
  someone<P extends Person>(people: readonly P[]): P | undefined {
    const online = people.filter(p => p.ready)
    return online.length > 0 ? this.chance.pick(online) : undefined
  }

  async crash(server: ServerProcess): Promise<void> {
    this.ledger.event(server.domain, 'SIGKILL')
    this.ledger.crash(server.domain)
    await server.kill()
  }

  async terminate(server: ServerProcess): Promise<void> {
    this.ledger.event(server.domain, 'SIGTERM')
    await server.stop()
  }

  async restart(server: ServerProcess): Promise<void> {
    await server.start()
    this.ledger.event(server.domain, 'started again')
  }

  /** Everybody who is not online comes back. */
  async gather(): Promise<void> {
    await Promise.all(this.people.filter(p => !p.ready).map(p => p.arrive('resume')))
  }

  /** All faults healed: waits until everything is acknowledged and delivered, or has had every chance to be. */
  async reckon(): Promise<void> {
    this.running = false
    clearInterval(this.traffic)
    await this.gather()
    this.ledger.event('world', 'traffic and faults have ended')
    await this.until(ACK_PATIENCE, () => {
      for (const sender of this.senders) if (sender.open > 0) sender.ask()
      return this.senders.every(s => s.ready && s.open === 0)
    })
    await this.until(DELIVERY_PATIENCE, () => this.ledger.missing().length + this.ledger.missingRepeats() === 0)
    // A session that was left behind ends only now, and what was in it must not come a second time.
    for (const person of this.people) person.bury()
    const timeout = this.options.resumeTimeout + 300
    if (timeout < LATE_PATIENCE) await sleep(timeout)
    await this.settle()
    clearInterval(this.pings)
    // Whoever logs out in order and comes back finds nothing: what was acknowledged is gone from the store.
    this.ledger.event('world', 'recipients log out and in again')
    await Promise.all(this.recipients.map(async r => r.leave()))
    if (this.options.restartAtEnd) {
      for (const server of this.servers) {
        await this.terminate(server)
        await this.restart(server)
      }
    }
    await Promise.all(this.recipients.map(async r => r.arrive('fresh')))
    await this.settle()
    await this.until(1000, () => this.ledger.missing().length + this.ledger.missingRepeats() === 0)
  }

  /** How many messages nobody got though their server took them over from that of the sender. */
  async lostElsewhere(): Promise<number> {
    let count = 0
    for (const { id, sender, recipient } of this.ledger.missing()) {
      const [from, to] = [this.senders.find(p => p.name === sender), this.recipients.find(p => p.name === recipient)]
      if (from !== undefined && to !== undefined && (await from.stateOf(id, to.account)) === 'accepted') count++
    }
    return count
  }

  async end(): Promise<void> {
    clearInterval(this.traffic)
    clearInterval(this.pings)
    for (const person of this.people) person.drop()
    for (const server of this.servers) {
      if (!server.running) continue
      server.signal('SIGCONT')
      await server.stop()
    }
  }

  /** Two rounds of pings, each behind whatever the server still had to send. */
  private async settle(): Promise<void> {
    for (let round = 0; round < 2; round++) {
      await sleep(50)
      await Promise.allSettled(this.recipients.map(async r => r.ping()))
      await this.gather()
    }
  }

  /** Asks every 30 ms; gives up after `patience` ms. */
  private async until(patience: number, done: () => boolean): Promise<void> {
    const deadline = performance.now() + patience
    while (!done() && performance.now() < deadline && this.hopeless() === undefined) {
      await sleep(30)
      await this.gather()
    }
  }

  private talk(): void {
    this.due += (this.options.rate * TICK) / 1000
    for (; this.due >= 1; this.due--) {
      const sender = this.someone(this.senders)
      sender?.say(this.chance.pick(this.recipients), `m${++this.count}`)
    }
  }

  private pingAll(): void {
    // A ping that is not answered confirms nothing, and needs no more: the connection's end is seen elsewhere.
    for (const sender of this.senders) sender.askForRest()
    for (const recipient of this.recipients) void recipient.ping().catch(() => undefined)
  }
}
