/** What processes cost, as /proc tells it (Linux). */
import { readdirSync, readFileSync } from 'node:fs'

const TICK = 10 // ms, of /proc/PID/stat

/** A process and those below it. */
function tree(root: number): number[] {
  const below = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const parent = /^\d+$/.test(name) ? Number(stat(Number(name))?.[1]) : Number.NaN
    if (!Number.isNaN(parent)) below.set(parent, [...(below.get(parent) ?? []), Number(name)])
  }
  const found = [root]
  for (const pid of found) found.push(...(below.get(pid) ?? []))
  return found
}

/** The fields after the name; undefined where there is no such process any more. */
function stat(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

/** CPU time of all their threads and of what runs below them (ms). */
export function cpuOf(pids: readonly number[]): number {
  const fields = pids.flatMap(tree).map(stat)
  return fields.reduce((sum, found) => sum + (Number(found?.[11] ?? 0) + Number(found?.[12] ?? 0)) * TICK, 0)
}

/** Memory of their own and their share of what others have too (Pss), in KB. */
export function memoryOf(pids: readonly number[]): number {
  const one = (pid: number): number =>
    Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))![1])
  return pids.flatMap(tree).reduce((sum, pid) => sum + one(pid), 0)
}

/** Resolves when they have come to rest, or 15 s later. */
export async function quiet(pids: readonly number[]): Promise<void> {
  let before = cpuOf(pids)
  for (let i = 0; i < 50; i++) {
    await pause(300)
    const now = cpuOf(pids)
    if (now - before <= 20) return
    before = now
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
