/** Pictures in a real S3 server, brought by scripts/s3.ts. Where that cannot be had (no Python, no way to PyPI), it is skipped. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { png } from '../support/pictures.ts'
import { child } from '../support/rawxml.ts'
import { bucket, missingS3 } from '../support/s3.ts'
import { refused, serve } from '../support/talk.ts'

const missing = await missingS3()

async function photo(colour: string): Promise<{ bytes: Buffer; hash: string; vcard: string }> {
  const bytes = await png(200, colour)
  const hash = createHash('sha1').update(bytes).digest('hex')
  const binval = `<BINVAL>${bytes.toString('base64')}</BINVAL>`
  return { bytes, hash, vcard: `<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE>${binval}</PHOTO></vCard>` }
}

test('pictures lie in S3: shown inline, by link, through a failure, and gone with the account', {
  skip: missing,
}, async t => {
  const { s3, blobs } = await bucket(t, 'avatars', 2000)
  const server = await serve(t, { blobs })
  const [alice, bob] = await server.clients('alice', 'bob')
  const shown = async (): Promise<Buffer> => {
    const answer = await bob.request('get', "<vCard xmlns='vcard-temp'/>", 'alice@localhost')
    return Buffer.from(child(child(child(answer, 'vCard'), 'PHOTO'), 'BINVAL')!.text, 'base64')
  }

  const first = await photo('teal')
  await alice.request('set', first.vcard)
  assert.ok((await shown()).equals(first.bytes))
  const host = server.server.host('localhost')!
  const avatar = await host.services.use('avatar')!.get((await host.account('alice'))!)
  const fetched = await fetch(avatar!.link)
  assert.equal(fetched.headers.get('content-type'), 'image/png')
  assert.ok(Buffer.from(await fetched.arrayBuffer()).equals(first.bytes))
  assert.deepEqual(
    (await blobs.list('avatars/localhost/')).map(entry => entry.key.split('/').at(-1)),
    [first.hash, `${first.hash}.96.png`, `${first.hash}.96.webp`],
  )

  const second = await photo('olive')
  s3.freeze()
  await refused('resource-constraint', alice.request('set', second.vcard))
  await assert.rejects(shown(), { message: 'iq error: resource-constraint' })
  s3.thaw()
  assert.ok((await shown()).equals(first.bytes))
  await alice.request('set', second.vcard)
  assert.ok((await shown()).equals(second.bytes))

  await alice.close()
  await host.removeAccount('alice')
  assert.deepEqual(await blobs.list('avatars/'), [])
})
