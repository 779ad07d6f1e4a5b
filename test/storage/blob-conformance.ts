import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { describe, type TestContext, test } from 'node:test'
import { type BlobStore, readBlob } from '../../src/storage/blob.ts'
import { pluck } from '../support/pluck.ts'

/** Opens an empty store; what it needs is taken away again by `t.after`. */
type OpenBlobs = (t: TestContext) => Promise<BlobStore>

const PNG = { type: 'image/png' }

export async function bytesOf(blobs: BlobStore, key: string): Promise<string | undefined> {
  const blob = await blobs.get(key)
  return blob === undefined ? undefined : (await readBlob(blob, 1e8)).toString('latin1')
}

export function put(blobs: BlobStore, key: string, text: string): Promise<void> {
  return blobs.put(key, Buffer.from(text), { ...PNG, size: Buffer.byteLength(text) })
}

/** The contract of blob.ts: what every driver does. */
export function blobConformance(name: string, open: OpenBlobs, options: { skip?: string | false } = {}): void {
  describe(`blobs in ${name}`, { skip: options.skip ?? false }, () => {
    test('what is put is got, with what was said of it', async t => {
      const blobs = await open(t)
      const before = Date.now() - 5000
      await put(blobs, 'pictures/a/1', 'one')
      assert.equal(await bytesOf(blobs, 'pictures/a/1'), 'one')
      const info = await blobs.stat('pictures/a/1')
      assert.equal(info?.type, 'image/png')
      assert.equal(info?.size, 3)
      assert.ok(info.at >= before && info.at <= Date.now() + 5000, `at ${info.at}`)
      const blob = await blobs.get('pictures/a/1')
      assert.equal(blob?.type, 'image/png')
      assert.equal(blob?.size, 3)
      blob.body.destroy()
    })

    test('what is not there is undefined, and deleting it is nothing', async t => {
      const blobs = await open(t)
      await put(blobs, 'a/b', 'x')
      for (const key of ['a', 'a/c', 'b', 'a/b/c']) {
        assert.equal(await blobs.get(key), undefined)
        assert.equal(await blobs.stat(key), undefined)
        await blobs.del(key)
      }
      assert.equal(await bytesOf(blobs, 'a/b'), 'x')
      await blobs.del('a/b')
      assert.equal(await blobs.get('a/b'), undefined)
    })

    test('a second put takes the place of the first', async t => {
      const blobs = await open(t)
      await put(blobs, 'k', 'the first')
      await blobs.put('k', Buffer.from('2nd'), { type: 'image/webp', size: 3 })
      assert.equal(await bytesOf(blobs, 'k'), '2nd')
      assert.equal((await blobs.stat('k'))?.type, 'image/webp')
    })

    test('no bytes at all, all bytes, and many of them', async t => {
      const blobs = await open(t)
      const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
      const much = randomBytes(3_000_000)
      for (const bytes of [Buffer.alloc(0), every, much]) {
        await blobs.put('k', bytes, { ...PNG, size: bytes.length })
        const blob = await blobs.get('k')
        assert.ok((await readBlob(blob!, 1e8)).equals(bytes))
      }
    })

    test('a stream is as good as bytes, also one of many megabytes', async t => {
      const blobs = await open(t)
      const chunk = randomBytes(1 << 20)
      for (const count of [2, 20]) {
        const body = Readable.from(Array.from({ length: count }, () => chunk))
        await blobs.put(`s/${count}`, body, { type: 'video/mp4', size: count << 20 })
        const blob = await blobs.get(`s/${count}`)
        assert.equal(blob?.type, 'video/mp4')
        assert.ok((await readBlob(blob, 1e8)).equals(Buffer.concat(Array.from({ length: count }, () => chunk))))
      }
    })

    test('a part is read where it lies, and what lies beyond the end is left out', async t => {
      const blobs = await open(t)
      await put(blobs, 'k', '0123456789')
      await blobs.put('none', Buffer.alloc(0), { ...PNG, size: 0 })
      const part = async (start: number, length?: number, key = 'k') => {
        const blob = await blobs.get(key, length === undefined ? { start } : { start, length })
        const chunks: Uint8Array[] = []
        for await (const chunk of blob!.body) chunks.push(chunk as Uint8Array)
        return [blob!.size, blob!.type, Buffer.concat(chunks).toString()]
      }
      assert.deepEqual(await part(0), [10, 'image/png', '0123456789'])
      assert.deepEqual(await part(4), [10, 'image/png', '456789'])
      assert.deepEqual(await part(0, 1), [10, 'image/png', '0'])
      assert.deepEqual(await part(2, 3), [10, 'image/png', '234'])
      assert.deepEqual(await part(9, 100), [10, 'image/png', '9'])
      assert.deepEqual(await part(9, Number.POSITIVE_INFINITY), [10, 'image/png', '9'])
      assert.deepEqual(await part(4, 0), [10, 'image/png', ''])
      assert.deepEqual(await part(10), [10, 'image/png', ''])
      assert.deepEqual(await part(1e9, 5), [10, 'image/png', ''])
      assert.deepEqual(await part(0, undefined, 'none'), [0, 'image/png', ''])
      assert.equal(await blobs.get('absent', { start: 1e9 }), undefined)
      for (const bad of [{ start: -1 }, { start: 0.5 }, { start: Number.NaN }, { start: 0, length: -1 }]) {
        await assert.rejects(blobs.get('k', bad), TypeError)
      }
    })

    test('a body of another length than was said, or one that breaks off, is not kept', async t => {
      const blobs = await open(t)
      await put(blobs, 'k', 'before')
      const broken = (size: number) =>
        Readable.from(
          (async function* () {
            yield Buffer.alloc(size)
            throw new TypeError('the source broke')
          })(),
        )
      const bodies: [Buffer | Readable, number][] = [
        [Buffer.from('12345'), 4],
        [Buffer.from('123'), 4],
        [Readable.from([Buffer.from('12'), Buffer.from('345')]), 4],
        [Readable.from([Buffer.from('12')]), 4],
        [broken(10), 1000],
        [broken(9 << 20), 10 << 20],
        [Readable.from([Buffer.alloc(9 << 20)]), 10 << 20],
      ]
      for (const [body, size] of bodies) {
        await assert.rejects(blobs.put('k', body, { ...PNG, size }), TypeError)
        await assert.rejects(blobs.put('new', body, { ...PNG, size }), Error)
      }
      assert.equal(await bytesOf(blobs, 'k'), 'before')
      assert.equal(await blobs.stat('new'), undefined)
      assert.deepEqual(pluck(await blobs.list(''), 'key'), ['k'])
    })

    test('many at once, of one key and of many', async t => {
      const blobs = await open(t)
      await Promise.all(Array.from({ length: 20 }, (_, i) => put(blobs, `deep/er/${i % 5}`, `value ${i % 5}`)))
      await Promise.all([0, 1, 2].map(i => blobs.del(`deep/er/${i}`)))
      assert.equal(await bytesOf(blobs, 'deep/er/3'), 'value 3')
      assert.deepEqual(pluck(await blobs.list('deep/'), 'key'), ['deep/er/3', 'deep/er/4'])
    })

    test('keys are listed in order, by prefix, in pages', async t => {
      const blobs = await open(t)
      const keys = ['a-b/1', 'a.b/1', 'a/1', 'a/2', 'a/b/1', 'a0/1', 'b%40=~+_-.x', 'b/1'].sort()
      for (const key of [...keys].reverse()) await put(blobs, key, key)
      const list = async (prefix: string, after?: string, limit?: number) =>
        (await blobs.list(prefix, after, limit)).map(e => e.key)
      assert.deepEqual(await list(''), keys)
      assert.deepEqual(await list('a/'), ['a/1', 'a/2', 'a/b/1'])
      assert.deepEqual(await list('a/b'), ['a/b/1'])
      assert.deepEqual(await list('a'), keys.slice(0, 6))
      assert.deepEqual(await list('nothing'), [])
      const pages: string[] = []
      for (let page = await list('', '', 3); page.length > 0; page = await list('', page.at(-1), 3)) pages.push(...page)
      assert.deepEqual(pages, keys)
      assert.deepEqual(await list('a/', 'a/1', 1), ['a/2'])
      const [entry] = await blobs.list('b%')
      assert.equal(entry?.size, 'b%40=~+_-.x'.length)
      assert.equal(await bytesOf(blobs, 'b%40=~+_-.x'), 'b%40=~+_-.x')
    })

    test('what is no key is refused by everything', async t => {
      const blobs = await open(t)
      const bad = ['', '/', 'a/', '/a', 'a//b', '..', 'a/../b', '.hidden', 'a b', 'ä', 'a\\b', 'a\0', 'x'.repeat(513)]
      for (const key of bad) {
        await assert.rejects(put(blobs, key, 'x'), TypeError, key)
        await assert.rejects(blobs.get(key), TypeError)
        await assert.rejects(blobs.stat(key), TypeError)
        await assert.rejects(blobs.del(key), TypeError)
        await assert.rejects(blobs.link(key, 1000), TypeError)
      }
      await assert.rejects(blobs.put('k', Buffer.alloc(1), { type: 'x\r\ny: z', size: 1 }), TypeError)
    })

    test('a limit is kept when reading', async t => {
      const blobs = await open(t)
      await put(blobs, 'k', 'twelve bytes')
      await assert.rejects(async () => readBlob((await blobs.get('k'))!, 11), { name: 'StoreError' })
      assert.equal((await readBlob((await blobs.get('k'))!, 12)).toString(), 'twelve bytes')
    })
  })
}
