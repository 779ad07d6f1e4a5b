/** What people of two servers do together, once more: over streams between them, with TLS and acknowledgements. */
import { globSync } from 'node:fs'
import path from 'node:path'

process.env['HERMOD_TEST_OVER'] = 'streams'
for (const file of globSync('federation-*.test.ts', { cwd: import.meta.dirname }).sort()) {
  const whole = path.join(import.meta.dirname, file)
  if (whole !== import.meta.filename) await import(whole)
}
