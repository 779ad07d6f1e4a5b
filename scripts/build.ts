/** Makes what is published: `npm run build` compiles src to dist, then the packages, each to its own. */
import { spawnSync } from 'node:child_process'
import { globSync, rmSync } from 'node:fs'
import path from 'node:path'

const ROOT = path.resolve(import.meta.dirname, '..')
// In this order: packages stand on what hermod exports.
for (const folder of ['.', ...globSync('packages/*', { cwd: ROOT }).sort()]) {
  rmSync(path.join(ROOT, folder, 'dist'), { recursive: true, force: true })
  const tsc = spawnSync('tsc', ['-p', path.join(folder, 'tsconfig.build.json')], { cwd: ROOT, stdio: 'inherit' })
  if (tsc.status !== 0) process.exit(tsc.status ?? 1)
}
