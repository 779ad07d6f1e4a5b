/**
 * After an installation in a clone: has the source read once, so that the first start finds what TypeScript becomes (see
 * bin/launch.js). Never fails: it is only a matter of memory and time.
 */
import { spawnSync } from 'node:child_process'

for (const args of [
  ['--max-semi-space-size=16', 'bin/hermod.js', 'check', '--config', 'config/test.yml'],
  ['bin/hermodctl.js', '--help'],
]) {
  spawnSync(process.execPath, args, { cwd: `${import.meta.dirname}/..`, stdio: 'ignore' })
}
