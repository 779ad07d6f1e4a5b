/** Waiting for what a test has set going: with a bound, and looking again and again only where nothing tells of it. */
import { setImmediate as turn } from 'node:timers/promises'

/** Waits until `check` gives something; resolves with that. Rejects, naming `what`, when the time (ms) is over. */
export async function eventually<T>(
  check: () => T | Promise<T>,
  what = 'what was expected',
  timeout = 10_000,
): Promise<NonNullable<T>> {
  const late = performance.now() + timeout
  for (;;) {
    const found = await check()
    if (found) return found
    if (performance.now() > late) throw new Error(`not within ${timeout} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

/** Lets everything happen that is only waiting for its turn. */
export async function settled(turns = 5): Promise<void> {
  for (let i = 0; i < turns; i++) await turn()
}
