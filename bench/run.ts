/** `npm run bench`: measures the parts, each in a process of its own. */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'

const FOLDER = path.join(import.meta.dirname, 'parts')
for (const file of readdirSync(FOLDER).sort()) {
  console.log(`\n== ${path.basename(file, '.ts')}`)
  const run = spawnSync(process.execPath, [path.join(FOLDER, file)], { stdio: 'inherit' })
  if (run.status !== 0) process.exitCode = 1
}
