import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { explain } from '../../../src/cli/explain.ts'
import type { Config } from '../../../src/config/core.ts'

const config = { listen: [{ port: 5222 }, { port: 5223 }] } as unknown as Config
const said = (error: object): string => (explain(error, config, 'npm start --') as Error).message
const file = path.join(tmpdir(), 'hermod.pid')

const CASES: [object, RegExp][] = [
  [
    { code: 'EACCES', path: file },
    /^this user may not write .*hermod\.pid: give the folder .* to it \(chown -R \d+ .*\), or name another$/,
  ],
  [{ code: 'EROFS', path: file }, /cannot be written: name another folder/],
  [{ code: 'ENOSPC', path: file }, /is full: make room/],
  [{ code: 'EACCES', path: '/none/such/file' }, /^there is no folder \/none\/such: make it, or name another$/],
  [{ code: 'EADDRINUSE', port: 5223 }, /port 5223 is in use: .*npm start -- --set listen\.1\.port=PORT/],
  [{ code: 'EACCES', port: 80 }, /may not open port 80: choose one above 1023/],
  [{ code: 'EADDRNOTAVAIL', port: 5222, address: '192.0.2.1' }, /has no address 192\.0\.2\.1 \(listen\.0\.ip\)/],
]

for (const [error, words] of CASES) {
  test(`what to do about ${JSON.stringify(error)}`, () => assert.match(said(error), words))
}

test('what nobody can explain stays as it is', () => {
  const error = new Error('the moon is full')
  assert.equal(explain(error, config, ''), error)
})
