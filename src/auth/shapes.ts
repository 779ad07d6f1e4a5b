import { createHmac } from 'node:crypto'
import type { Table } from '../storage/store.ts'
import type { ScramHash } from './derive.ts'

/** The hashes that are kept of a password, with the rounds of each, in the order in which they are tried. */
export type Shape = Readonly<Partial<Record<ScramHash, number>>>

/** A shape as text, and how often it was written. */
type Counted = [shape: string, count: number]

const KEY = ['shapes']
/** Shapes that are told apart: a host has as many as its configuration had states in which passwords were set. */
const MAX_SHAPES = 64
/** Accounts that are looked at where nothing has been counted yet. */
const MAX_COUNTED = 10_000

/**
 * What the passwords of a host's accounts were kept as, over the years. Names that nobody has show themselves in the same
 * ways, in the same proportions, so that nobody tells by it who has an account (RFC 5802 section 9). Each name has its place
 * on the scale for good: it shows the same each time, over restarts too, until the newer shapes have so many accounts that
 * they reach it, which looks as if its owner had changed the password. Counts never fall, so that it does not go back.
 */
export class Shapes {
  readonly #secret: Buffer
  readonly #table: Table<Counted[]> | undefined
  /** Oldest first. */
  #counts: Counted[] = []

  constructor(secret: Buffer, table?: Table<Counted[]>) {
    this.#secret = secret
    this.#table = table
  }

  /** Reads what was counted before; where nothing was, `existing` are the shapes of accounts that are there. */
  async open(existing: (limit: number) => AsyncIterable<Shape>): Promise<void> {
    const stored = await this.#table?.get(KEY, [])
    if (stored !== undefined) {
      this.#counts = stored
      return
    }
    for await (const shape of existing(MAX_COUNTED)) this.#add(shape)
    if (this.#counts.length > 0) await this.#table?.put(KEY, [], this.#counts)
  }

  /** An account has this shape from now on. */
  note(shape: Shape): void {
    this.#add(shape)
    // One count less does no harm.
    this.#table?.put(KEY, [], this.#counts).catch(() => {})
  }

  /**
   * What a name shows that nobody has. `usable`: some keys there are, as of an account whose password is kept here.
   * Undefined while no account was ever made.
   */
  of(user: string, usable = false): Shape | undefined {
    const counts = usable ? this.#counts.filter(([shape]) => shape !== '') : this.#counts
    const total = counts.reduce((sum, [, count]) => sum + count, 0)
    let place = createHmac('sha256', this.#secret).update(`shape\0${user}`).digest().readUIntBE(0, 6) / 2 ** 48
    for (const [shape, count] of counts) {
      place -= count / total
      if (place < 0) return parse(shape)
    }
    const last = counts.at(-1)
    return last && parse(last[0])
  }

  #add(shape: Shape): void {
    const text = format(shape)
    const there = this.#counts.find(([name]) => name === text)
    if (there !== undefined) there[1]++
    else this.#counts.push([text, 1])
    if (this.#counts.length > MAX_SHAPES) this.#counts.shift()
  }
}

/** `SHA-256:10000 SHA-1:10000` */
function format(shape: Shape): string {
  return Object.entries(shape)
    .map(([hash, rounds]) => `${hash}:${rounds}`)
    .join(' ')
}

function parse(text: string): Shape {
  if (text === '') return {}
  return Object.fromEntries(
    text.split(' ').map(part => {
      const [hash, rounds] = part.split(':')
      return [hash, Number(rounds)]
    }),
  )
}
