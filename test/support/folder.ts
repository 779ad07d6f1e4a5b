import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'

/** A folder that goes with the test. */
export async function emptyFolder(t: TestContext): Promise<string> {
  const made = await mkdtemp(path.join(tmpdir(), 'hermod-test-'))
  // What a test has left running may still write there.
  t.after(() => rm(made, { recursive: true, force: true, maxRetries: 10 }))
  return made
}
