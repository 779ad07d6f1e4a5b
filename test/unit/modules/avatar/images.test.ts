import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32, deflateSync } from 'node:zlib'
import sharp from 'sharp'
import { type ImageLimits, Images } from '../../../../src/modules/avatar/images.ts'
import { costOf } from '../../../support/cost.ts'
import { fc } from '../../../support/property.ts'

const LIMITS: ImageLimits = { bytes: 100_000, pixels: 1_000_000, frames: 10, side: 400, timeout: 5000 }

function painted(width: number, height = width, channels: 3 | 4 = 3) {
  return sharp({ create: { width, height, channels, background: { r: 200, g: 30, b: 60, alpha: 1 } } })
}

async function noisy(width: number, height: number) {
  const noise = { type: 'gaussian' as const, mean: 128, sigma: 30 }
  return sharp({ create: { width, height, channels: 3, background: 'black', noise } })
}

async function animated(frames: number, side: number): Promise<Buffer> {
  const raw = Buffer.alloc(side * side * frames * 3)
  for (let i = 0; i < raw.length; i++) raw[i] = (i * 31 + Math.floor(i / (side * side * 3)) * 90) % 256
  return sharp(raw, { raw: { width: side, height: side * frames, channels: 3, pageHeight: side } })
    .gif()
    .toBuffer()
}

function refused(images: Images, bytes: Buffer, reason: RegExp): Promise<void> {
  return assert.rejects(images.check(bytes), (error: Error & { condition?: string; text?: string }) => {
    assert.equal(error.name, 'StanzaError')
    assert.equal(error.condition, 'not-acceptable')
    assert.match(error.text!, reason)
    return true
  })
}

test('a picture in order stays as it is, byte for byte', async () => {
  const images = new Images(LIMITS)
  const all: [string, Buffer][] = [
    ['image/png', await painted(64, 32).png().toBuffer()],
    ['image/jpeg', await painted(64, 32).jpeg().toBuffer()],
    ['image/webp', await painted(64, 32).webp().toBuffer()],
    ['image/gif', await painted(64, 32).gif().toBuffer()],
  ]
  for (const [type, bytes] of all) {
    const image = await images.check(bytes)
    assert.ok(image.bytes.equals(bytes), type)
    assert.deepEqual({ ...image, bytes: 0 }, { bytes: 0, type, width: 64, height: 32, frames: 1 })
  }
})

test('metadata is taken out: where it was taken, by whom, and what stands behind its end', async () => {
  const images = new Images(LIMITS)
  const exif = {
    IFD0: { Copyright: 'alice in wonderland' },
    IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 0/1' },
  }
  const png = await painted(64).png().toBuffer()
  const jpeg = await painted(64).jpeg().toBuffer()
  const text = Buffer.concat([Buffer.from('tEXtAuthor\0alice in wonderland')])
  const chunk = Buffer.concat([Buffer.alloc(4), text, Buffer.alloc(4)])
  chunk.writeUInt32BE(text.length - 4, 0)
  chunk.writeUInt32BE(crc32(text), chunk.length - 4)
  const comment = Buffer.from('\xff\xfe\x00\x15alice in wonderland', 'latin1')
  for (const bytes of [
    await painted(64).withExif(exif).jpeg().toBuffer(),
    await painted(64).withExif(exif).png().toBuffer(),
    await painted(64).withExif(exif).webp().toBuffer(),
    Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)]),
    Buffer.concat([jpeg.subarray(0, 2), comment, jpeg.subarray(2)]),
    Buffer.concat([png, Buffer.from('alice in wonderland')]),
    Buffer.concat([jpeg, Buffer.from('alice in wonderland')]),
  ]) {
    assert.ok(bytes.includes('alice in wonderland'))
    const image = await images.check(bytes)
    assert.ok(!image.bytes.includes('alice in wonderland'), image.type)
    assert.equal((await sharp(image.bytes).metadata()).exif, undefined)
    assert.ok((await images.check(image.bytes)).bytes.equals(image.bytes), 'and now it is in order')
  }
})

test('a picture that lies on its side is set upright before what says so is taken out', async () => {
  const bytes = await painted(60, 20).withMetadata({ orientation: 6 }).jpeg().toBuffer()
  const image = await new Images(LIMITS).check(bytes)
  assert.deepEqual([image.width, image.height], [20, 60])
})

test('a large picture is scaled down', async () => {
  const image = await new Images(LIMITS).check(await painted(800, 600).png().toBuffer())
  assert.deepEqual([image.width, image.height, image.type], [400, 300, 'image/png'])
})

test('smaller sizes are made as PNG and as WebP; none is made larger', async () => {
  const images = new Images(LIMITS)
  const image = await images.check(await (await noisy(300, 150)).jpeg().toBuffer())
  const made = await images.variants(image, [96, 200, 512])
  assert.deepEqual(
    made.map(v => `${v.side} ${v.type}`),
    ['96 image/png', '96 image/webp', '200 image/png', '200 image/webp'],
  )
  for (const { side, type, bytes } of made) {
    const meta = await sharp(bytes).metadata()
    assert.deepEqual([`image/${meta.format}`, meta.width, meta.height], [type, side, side / 2])
  }
  assert.deepEqual(await images.variants(image, [300, 512]), [])
})

test('animations live up to their bound', async () => {
  const images = new Images(LIMITS)
  const image = await images.check(await animated(10, 16))
  assert.deepEqual([image.frames, image.width, image.height], [10, 16, 16])
  const [small] = await images.variants(image, [8])
  assert.equal((await sharp(small!.bytes).metadata()).pages ?? 1, 1)
  await refused(images, await animated(11, 16), /10 frames, this one has 11/)
})

test('what is no picture, or one of another kind', async () => {
  const images = new Images(LIMITS)
  const svg = '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
  await refused(images, Buffer.from(svg), /SVG is not taken/)
  await refused(images, Buffer.from(`<?xml version="1.0"?><!-- ${' '.repeat(200)} -->${svg}`), /SVG is not taken/)
  await refused(images, Buffer.alloc(0), /no picture/)
  await refused(images, Buffer.from('hello'), /no PNG, JPEG, GIF or WebP/)
  await refused(images, await painted(20).tiff().toBuffer(), /no PNG, JPEG, GIF or WebP/)
  await refused(images, Buffer.from('\x89PNG\r\n\x1a\nnothing', 'latin1'), /damaged/)
})

test('truncated files', async () => {
  const images = new Images(LIMITS)
  const base = await noisy(120, 120)
  for (const bytes of [
    await base.clone().png().toBuffer(),
    await base.clone().jpeg().toBuffer(),
    await base.clone().webp().toBuffer(),
    await base.clone().gif().toBuffer(),
  ]) {
    assert.equal((await images.check(bytes)).width, 120)
    await refused(images, bytes.subarray(0, Math.floor(bytes.length * 0.6)), /damaged/)
  }
})

test('the bound of bytes, and of pixels: at it and beyond', async () => {
  const bytes = await painted(100).png().toBuffer()
  await new Images({ ...LIMITS, bytes: bytes.length }).check(bytes)
  await refused(new Images({ ...LIMITS, bytes: bytes.length - 1 }), bytes, /may have \d+ bytes/)
  await new Images({ ...LIMITS, pixels: 10_000 }).check(bytes)
  await refused(new Images({ ...LIMITS, pixels: 9_999 }), bytes, /pixels/)
  const film = await animated(10, 16)
  await new Images({ ...LIMITS, pixels: 2560 }).check(film)
  await refused(new Images({ ...LIMITS, pixels: 2559 }), film, /pixels/)
})

test('a bomb: a small file of 30,000 by 30,000 pixels is refused at once', async () => {
  const bomb = pngOf(30_000, 30_000)
  assert.ok(bomb.length < LIMITS.bytes)
  const refusal = await costOf(() => refused(new Images(LIMITS), bomb, /pixels/))
  const small = await painted(300).png().toBuffer()
  const picture = await costOf(() => new Images(LIMITS).check(small))
  // To unpack it is the work of ten thousand pictures.
  assert.ok(refusal < 20 * picture, `${refusal} ms, a picture ${picture} ms`)
})

test('few at a time, some wait, the rest are told to come later', async () => {
  const images = new Images(LIMITS)
  const bytes = await (await noisy(100, 100)).png().toBuffer()
  const answers = await Promise.allSettled(Array.from({ length: 60 }, () => images.check(bytes)))
  const failed = answers.filter(a => a.status === 'rejected')
  assert.equal(failed.length, 60 - 52)
  for (const { reason } of failed) assert.equal(reason.condition, 'resource-constraint')
  assert.equal((await images.check(bytes)).width, 100, 'and later it goes on')
})

test('whatever bytes come: a picture, or a refusal in words', async () => {
  const images = new Images(LIMITS)
  const base = await noisy(24, 24)
  const whole = await Promise.all([
    base.clone().png().toBuffer(),
    base.clone().jpeg().toBuffer(),
    base.clone().webp().toBuffer(),
    animated(3, 8),
  ])
  const changes = fc.array(fc.tuple(fc.nat(5000), fc.nat(255)), { minLength: 1, maxLength: 8 })
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...whole), changes, async (picture, places) => {
      const bytes = Buffer.from(picture)
      for (const [at, value] of places) bytes[at % bytes.length] = value
      try {
        const image = await images.check(bytes)
        assert.ok(image.width > 0 && image.width <= 400 && image.height > 0 && image.height <= 400)
        assert.ok((await sharp(image.bytes, { failOn: 'error' }).metadata()).width > 0)
      } catch (error) {
        assert.equal((error as { condition?: string }).condition, 'not-acceptable', String(error))
      }
    }),
    { numRuns: 300 },
  )
})

/** A PNG of one colour, made by hand: all rows are zeros, which deflate to nearly nothing. */
function pngOf(width: number, height: number): Buffer {
  const chunk = (name: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(name), data])
    const head = Buffer.alloc(4)
    head.writeUInt32BE(data.length)
    const end = Buffer.alloc(4)
    end.writeUInt32BE(crc32(body))
    return Buffer.concat([head, body, end])
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header[8] = 1 // one bit a pixel, grey
  const rows = deflateSync(Buffer.alloc((Math.ceil(width / 8) + 1) * 1000), { level: 9 })
  const parts = [chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...parts])
}
