// Writes rows for ever, many at a time, and prints the number of each that was acknowledged, until it is killed.
import { writeSync } from 'node:fs'
import { openLevelStore } from '../../../src/storage/level.ts'

const store = await openLevelStore(process.argv[2]!)
const table = store.table<string>('example.org', { name: 'a' })
let next = 0

async function write(): Promise<never> {
  for (;;) {
    const i = next++
    await table.put(['p'], [i], `row ${i}`)
    writeSync(1, `${i}\n`)
  }
}

await Promise.all(Array.from({ length: 20 }, write))
