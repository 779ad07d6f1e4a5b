/** bin/: what a person runs first. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'
import { VERSION } from '../../src/version.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
/** This Node, which says that it is another. */
const as = (version: string): string[] => [
  '--import',
  `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'${version}'}})`,
]

function run(args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' })
  return { status, stdout: stdout.trim(), stderr: stderr.trim() }
}

for (const name of ['hermod', 'hermodctl']) {
  test(`an old Node gets one sentence from ${name}`, () => {
    for (const old of ['18.20.4', '20.20.2', '22.17.1']) {
      const { status, stdout, stderr } = run([...as(old), `bin/${name}.js`, 'version'])
      assert.deepEqual([status, stdout], [1, ''])
      assert.match(stderr, new RegExp(`^${name} needs Node 22.18 or newer, and this is ${old} .*npm ci && npm start`))
      assert.equal(stderr.split('\n').length, 1)
    }
  })
}

test('the source runs in a clone, by its commands as the README has them', () => {
  for (const version of ['22.18.0', '24.0.0', '26.1.0']) {
    assert.equal(run([...as(version), 'bin/hermod.js', 'version']).stdout, VERSION)
  }
  assert.match(run(['bin/hermodctl.js', '--help']).stdout, /^hermodctl: commands for a running hermod/)
})
