// Writes two rows at once for ever, many at a time, and prints the number of each that was acknowledged, until it is killed.
import { writeSync } from 'node:fs'
import { openLevelStore } from '../../../src/storage/level.ts'

const store = await openLevelStore(process.argv[2]!)
const a = store.table<string>('example.org', { name: 'a' })
const b = store.table<string>('other', { name: 'b' })
let next = 0

async function write(): Promise<never> {
  for (;;) {
    const i = next++
    await store.commit([a.putOp(['p'], [i], `row ${i}`), b.putOp([i], [], `row ${i}`)])
    writeSync(1, `${i}\n`)
  }
}

await Promise.all(Array.from({ length: 20 }, write))
