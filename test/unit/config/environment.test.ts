// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references are what is tested
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { formatDiagnostic } from '../../../src/config/diagnostics.ts'
import { substitute } from '../../../src/config/environment.ts'
import type { Secret } from '../../../src/config/secret.ts'
import { errorsOf, load } from './support.ts'

test('references are replaced, with defaults as in the shell', () => {
  const env = { A: 'x', EMPTY: '' }
  assert.equal(substitute('${A}-${B:-y}-${EMPTY:-z}-${A:-no}', env).text, 'x-y-z-x')
  assert.equal(substitute('$A $${A} 5$', env).text, '$A ${A} 5$')
  assert.equal(substitute('${A}', { A: '${A}' }).text, '${A}', 'what comes from the environment is not looked into')
})

test('a variable gives numbers, switches, durations, texts and names', async () => {
  const text = `
hosts: ['\${HOST}']
listen:
  port: \${PORT:-5222}
  tls: \${TLS}
resume_timeout: \${WAIT}
host_config:
  \${HOST}: {max_user_sessions: 3}
modules: {mod_register: {welcome: {subject: "\${NUMBER}"}}}
`
  const { config } = await load(text, { env: { HOST: 'a.example', PORT: '0', TLS: 'true', WAIT: '7s', NUMBER: '007' } })
  const host = config.perHost.get('a.example')
  assert.deepEqual([config.listen[0]?.port, config.listen[0]?.tls], [0, true])
  assert.deepEqual([host?.resume_timeout, host?.max_user_sessions], [7000, 3])
  assert.deepEqual(host?.modules['mod_register']?.['welcome'], { subject: '007', body: undefined })
})

test('a variable that is missing, and a reference that is none, are errors with their line', async () => {
  assert.deepEqual(await errorsOf('hosts:\n  - ${NOPE}\ndata: ${a-b}\n'), [
    'test.yml:2:5  hosts[0]  the environment has no NOPE, and no default is given (${NOPE:-default})',
    'test.yml:3:7  data  wanted ${NAME} or ${NAME:-default} (a literal ${ is written $${)',
  ])
})

test('an unquoted reference between braces is told to be quoted', async () => {
  assert.deepEqual(await errorsOf('listen: {port: ${PORT}}'), [
    'test.yml:1:17  Unexpected flow-map-start at node end (between braces and brackets, ${...} has to stand in quotes)',
  ])
})

test('an empty reference leaves an option, and an entry of a list, unset', async () => {
  const { config } = await load('certfiles:\n  - {cert: "${C:-}", key: "${K:-}"}\ndrain: {timeout: "${T:-}"}\n')
  assert.deepEqual(config.perHost.get('localhost')?.certfiles, [])
  assert.equal(config.drain.timeout, 10_000)
  assert.match(
    (await errorsOf('certfiles:\n  - {cert: "${C:-}", key: /k}\n'))[0] ?? '',
    /^test\.yml:2:12 {2}certfiles\[0\]\.cert {2}is missing/,
  )
})

test('secrets come from the text, the environment and files, and are never printed', async t => {
  const folder = mkdtempSync(path.join(tmpdir(), 'config-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'secret')
  writeFileSync(file, 'from a file\n')
  chmodSync(file, 0o600)
  const secretOf = async (written: string) => {
    const { config, diagnostics } = await load(`modules: {mod_register: {password: ${written}}}`, {
      env: { PW: 'from env' },
    })
    assert.ok(!JSON.stringify([...config.perHost]).includes('from'))
    const secret = config.perHost.get('localhost')?.modules['mod_register']?.['password'] as Secret
    return [secret.reveal(), ...diagnostics.map(formatDiagnostic)]
  }
  assert.deepEqual(await secretOf('from text'), ['from text'])
  assert.deepEqual(await secretOf('{env: PW}'), ['from env'])
  assert.deepEqual(await secretOf('"${PW}"'), ['from env'])
  assert.deepEqual(await secretOf(`{file: ${file}}`), ['from a file'])
  chmodSync(file, 0o644)
  assert.deepEqual(await secretOf(`{file: ${file}}`), [
    'from a file',
    `test.yml  warning: ${file} can be read by everyone on this machine`,
  ])
  writeFileSync(file, 'x'.repeat(65_537))
  assert.deepEqual(await errorsOf(`modules: {mod_register: {password: {file: ${file}}}}`), [
    `test.yml:1:36  modules.mod_register.password  cannot read ${file}: it is larger than 64 KiB`,
  ])
})

test('secrets that are not there are errors, and wrong ones are not repeated', async () => {
  const errorOf = async (written: string) => (await errorsOf(`modules: {mod_register: {password: ${written}}}`))[0]
  const at = 'test.yml:1:36  modules.mod_register.password  '
  assert.equal(await errorOf('{env: NOPE}'), `${at}the environment has no NOPE`)
  assert.equal(await errorOf('{file: /nowhere}'), `${at}cannot read /nowhere: there is no such file`)
  assert.equal(await errorOf('{evn: PW}'), `${at}wanted text, {env: NAME} or {file: PATH}, got another mapping`)
  assert.equal(await errorOf('12345'), `${at}wanted text, {env: NAME} or {file: PATH}, got something else`)
})
