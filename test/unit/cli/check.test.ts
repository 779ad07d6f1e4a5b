import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { check } from '../../../src/cli/check.ts'
import { selfSigned } from '../../../src/net/selfsigned.ts'
import { emptyFolder } from '../../support/folder.ts'

const DAY = 86_400_000

async function setting(t: TestContext) {
  const folder = await emptyFolder(t)
  const file = path.join(folder, 'hermod.yml')
  const at = (name: string): string => path.join(folder, name)
  const make = async (name: string, names: string[], made = Date.now()) => {
    const { cert, key } = await selfSigned(names, made)
    await writeFile(at(`${name}.crt`), cert)
    await writeFile(at(`${name}.key`), key)
  }
  const read = async (yaml: string) => {
    await writeFile(file, `data: ${at('data')}\n${yaml.replaceAll('@', folder)}\n`)
    return check({ file, sets: [] })
  }
  return { file, make, read }
}

test('certificates are read: who they are for, until when, what speaks against them', async t => {
  const { make, read, file } = await setting(t)
  await make('a', ['a.example'])
  await make('old', ['b.example'], Date.now() - 3660 * DAY)
  const one = '{cert: @/a.crt, key: @/a.key}'
  const fine = await read(`hosts: [a.example]\ncertfiles: [${one}]`)
  assert.deepEqual(fine.warnings, [])
  assert.match(fine.certificates.join(), /^certificate for a\.example \*\.a\.example until 20\d\d-\d\d-\d\d: .*a\.crt$/)
  const two = await read(`hosts: [a.example, c.example]\ncertfiles: [${one}, {cert: @/old.crt, key: @/old.key}]`)
  assert.equal(two.warnings.length, 2)
  assert.match(two.warnings[0]!, /old\.crt: certificate has expired: clients will refuse it/)
  assert.match(two.warnings[1]!, /no certificate in certfiles is for c\.example/)
  const mixed = read('hosts: [a.example]\ncertfiles:\n  - cert: @/a.crt\n    key: @/old.key')
  await assert.rejects(mixed, (error: Error) => {
    assert.ok(error.message.startsWith(`${file}:4:3  certfiles`), error.message)
    assert.match(error.message, /this private key is not that of the certificate/)
    return true
  })
})

test('all that is wrong is named at once: ciphers, keys of tokens', async t => {
  const { make, read } = await setting(t)
  await make('a', ['a.example'])
  const yaml =
    'hosts: [a.example]\ncertfiles: [{cert: @/a.crt, key: @/a.key}]\ntls_ciphers: NONE-SUCH\nauth_method: [jwt]'
  const wrong = read(yaml)
  await assert.rejects(wrong, /tls_ciphers[\s\S]*jwt_key/)
})

test('authorities for other servers are read', async t => {
  const { make, read, file } = await setting(t)
  await make('a', ['a.example'])
  assert.deepEqual((await read('s2s: {ca_file: @/a.crt}')).warnings, [])
  await assert.rejects(read('s2s:\n  ca_file: @/a.key'), (error: Error) => {
    assert.ok(error.message.startsWith(`${file}:3:12  s2s.ca_file`), error.message)
    assert.match(error.message, /a\.key: holds no certificate/)
    return true
  })
})

test('a data folder that cannot be', async t => {
  const { file, make } = await setting(t)
  await make('a', ['a.example'])
  const place = path.join(path.dirname(file), 'a.crt', 'data')
  await assert.rejects(check({ file: undefined, sets: [`data=${place}`] }), /data .*is no folder: name another folder/)
})
