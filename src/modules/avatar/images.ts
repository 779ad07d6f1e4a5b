import { createRequire } from 'node:module'
import type { Sharp } from 'sharp'
import { Limit } from '../../util/limit.ts'
import { StanzaError } from '../../xmpp/errors.ts'

export interface ImageLimits {
  /** Bytes of a file. */
  bytes: number
  /** Pixels of all its frames together. */
  pixels: number
  frames: number
  /** Width and height; what is larger is scaled down. */
  side: number
  /** Ms that one picture may take. */
  timeout: number
}

export type ImageType = 'image/png' | 'image/jpeg' | 'image/gif' | 'image/webp'

/** A picture that was decoded from its first to its last pixel, and says nothing about where and by whom it was taken. */
export interface Image {
  bytes: Buffer
  type: ImageType
  width: number
  height: number
  frames: number
}

/** Of an image, scaled to fit a square. */
interface Variant {
  side: number
  type: 'image/png' | 'image/webp'
  bytes: Buffer
}

/** Pictures that are worked on at a time (each keeps one of Node's few threads busy), and those that may wait for it. */
const AT_ONCE = 2
const MAX_WAITING = 50
const QUALITY = 85
const SMALLER = [512, 384, 256, 192, 128, 96, 64]

type Format = 'png' | 'jpeg' | 'gif' | 'webp'

/** Decodes, checks and scales pictures that strangers made. Refuses with a StanzaError that names the reason. */
export class Images {
  readonly #limits: ImageLimits
  readonly #turns = new Limit(AT_ONCE, MAX_WAITING, () => {
    return new StanzaError('resource-constraint', 'too many pictures at once; try again later')
  })

  constructor(limits: ImageLimits) {
    this.#limits = limits
  }

  /**
   * The picture as it may be shown to others: the very bytes where they are in order, made anew where they carry metadata
   * (EXIF, XMP, text: places and names) or are larger than `side`. `not-acceptable` for what is no such picture.
   */
  async check(bytes: Buffer): Promise<Image> {
    if (bytes.length > this.#limits.bytes) {
      throw refusal(`a picture may have ${this.#limits.bytes} bytes, this one has ${bytes.length}`)
    }
    const format = formatOf(bytes)
    return this.#turns.run(async () => {
      try {
        return await this.#check(bytes, format)
      } catch (error) {
        throw asRefusal(error)
      }
    })
  }

  async #check(bytes: Buffer, format: Format): Promise<Image> {
    const { side, pixels, frames: maxFrames } = this.#limits
    const meta = await (await this.#open(bytes)).metadata()
    const frames = meta.pages ?? 1
    const height = meta.pageHeight ?? meta.height
    if (frames > maxFrames) throw refusal(`a picture may have ${maxFrames} frames, this one has ${frames}`)
    if (meta.width * height * frames > pixels) {
      throw refusal(`a picture may have ${pixels} pixels, all its frames together; this one has more`)
    }
    const talks = [meta.exif, meta.iptc, meta.xmp].some(part => part !== undefined) || (meta.comments ?? []).length > 0
    if (!talks && meta.width <= side && height <= side && !hasMore(bytes, format)) {
      // A header can promise what does not follow: only who has decoded all of it knows.
      await (await this.#open(bytes)).stats()
      return { bytes, type: `image/${format}`, width: meta.width, height, frames }
    }
    const scaled = (await this.#open(bytes)).autoOrient().resize(fit(side))
    const { data, info } = await encode(scaled, format).toBuffer({ resolveWithObject: true })
    return { bytes: data, type: `image/${format}`, width: info.width, height: info.pageHeight ?? info.height, frames }
  }

  /** The picture itself where it has `most` bytes at most, else the largest smaller one that does. */
  async shrink(image: Image, most: number): Promise<Image> {
    if (image.bytes.length <= most) return image
    return this.#turns.run(async () => {
      const format = image.type.slice(6) as Format
      for (const side of SMALLER) {
        const scaled = (await this.#open(image.bytes)).resize(fit(side))
        const { data, info } = await encode(scaled, format).toBuffer({ resolveWithObject: true })
        if (data.length > most) continue
        return { ...image, bytes: data, width: info.width, height: info.pageHeight ?? info.height }
      }
      throw refusal(`the picture cannot be made so small that it has ${most} bytes`)
    })
  }

  /** The first frame, as PNG and as WebP, of each size that is smaller than the picture itself. */
  async variants(image: Image, sides: readonly number[]): Promise<Variant[]> {
    const wanted = sides.filter(side => side < Math.max(image.width, image.height))
    if (wanted.length === 0) return []
    return this.#turns.run(async () => {
      const variants: Variant[] = []
      for (const side of wanted) {
        for (const format of ['png', 'webp'] as const) {
          const scaled = (await this.#open(image.bytes, 1)).resize(fit(side))
          variants.push({ side, type: `image/${format}`, bytes: await encode(scaled, format).toBuffer() })
        }
      }
      return variants
    })
  }

  /** Anything doubtful in the file is an error: truncated files too. */
  async #open(bytes: Buffer, pages = -1): Promise<Sharp> {
    const sharp = await decoder()
    const { pixels, timeout } = this.#limits
    const seconds = Math.max(1, Math.ceil(timeout / 1000))
    return sharp(bytes, { pages, limitInputPixels: pixels, failOn: 'warning' }).timeout({ seconds })
  }
}

const INSTALL = 'install it on this machine: npm ci, or npm install sharp'

/**
 * Why pictures cannot be decoded here; undefined where nothing speaks against it. The decoder is loaded with the first picture
 * (it takes 20 MB): whether it is there at all is looked at when the server starts. `found` tells whether a module is.
 */
export function decoderProblem(
  found: (module: string, from: string) => string | undefined = locate,
): string | undefined {
  const here = import.meta.url
  const sharp = found('sharp', here)
  if (sharp === undefined) return `there is no library sharp: ${INSTALL}`
  const { platform, arch } = process
  const builds = [platform, `${platform}musl`].map(system => `@img/sharp-${system}-${arch}/sharp.node`)
  if ([...builds, '@img/sharp-wasm32/sharp.node'].some(build => found(build, sharp) !== undefined)) return undefined
  return `the library sharp is there without what it needs on ${platform} ${arch}: ${INSTALL}`
}

function locate(module: string, from: string): string | undefined {
  try {
    return createRequire(from).resolve(module)
  } catch {
    return undefined
  }
}

async function decoder() {
  try {
    return (await import('sharp')).default
  } catch (cause) {
    throw new Error(`pictures cannot be decoded, for the library sharp cannot be loaded: ${INSTALL}`, { cause })
  }
}

/** By its first bytes, whatever it is called. */
function formatOf(bytes: Buffer): Format {
  if (bytes.length === 0) throw refusal('there is no picture')
  const start = bytes.toString('latin1', 0, 16)
  if (start.startsWith('\x89PNG\r\n\x1a\n')) return 'png'
  if (start.startsWith('\xff\xd8\xff')) return 'jpeg'
  if (start.startsWith('GIF87a') || start.startsWith('GIF89a')) return 'gif'
  if (start.startsWith('RIFF') && start.slice(8, 12) === 'WEBP') return 'webp'
  const text = bytes.toString('latin1', 0, 1024)
  // SVG may refer to files and addresses, and run scripts where it is shown.
  if (/<svg|<!doctype svg/i.test(text)) throw refusal('SVG is not taken; send PNG, JPEG, GIF or WebP')
  throw refusal('this is no PNG, JPEG, GIF or WebP picture')
}

/** Whether a PNG or JPEG carries text, or anything behind its end, that the decoder does not tell of. */
function hasMore(bytes: Buffer, format: Format): boolean {
  if (format === 'png') return !pngIsPlain(bytes)
  if (format === 'jpeg') return !jpegIsPlain(bytes)
  return false
}

const PNG_CHUNKS = new Set(
  'IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB bKGD pHYs acTL fcTL fdAT cICP mDCV cLLI hIST'.split(' '),
)

function pngIsPlain(bytes: Buffer): boolean {
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at)
    const name = bytes.toString('latin1', at + 4, at + 8)
    if (!PNG_CHUNKS.has(name)) return false
    at += 12 + length
    if (name === 'IEND') return at === bytes.length
  }
  return true // without an end: the decoder has its say
}

function jpegIsPlain(bytes: Buffer): boolean {
  for (let at = 2; at + 4 <= bytes.length; ) {
    const marker = bytes[at + 1]!
    if (bytes[at] !== 0xff) return true
    if (marker === 0xff) {
      at++
      continue
    }
    // The scan: what follows is entropy-coded up to the end of the image, which must be the end of the file.
    if (marker === 0xda) return bytes[bytes.length - 2] === 0xff && bytes[bytes.length - 1] === 0xd9
    const app = marker >= 0xe0 && marker <= 0xef
    // APP0 is JFIF, APP2 a colour profile, APP14 the kind of colours; the others and comments tell of people.
    if ((app && marker !== 0xe0 && marker !== 0xe2 && marker !== 0xee) || marker === 0xfe) return false
    at += 2 + bytes.readUInt16BE(at + 2)
  }
  return true
}

function fit(side: number) {
  return { width: side, height: side, fit: 'inside', withoutEnlargement: true } as const
}

function encode(image: Sharp, format: Format): Sharp {
  if (format === 'png') return image.png({ compressionLevel: 9 })
  if (format === 'jpeg') return image.jpeg({ quality: QUALITY })
  if (format === 'webp') return image.webp({ quality: QUALITY })
  return image.gif()
}

function refusal(text: string): StanzaError {
  return new StanzaError('not-acceptable', text)
}

/** What the decoder says of a file that strangers sent is their fault, unless it ran out of time. */
function asRefusal(error: unknown): unknown {
  if (error instanceof StanzaError) return error
  const text = error instanceof Error ? error.message : ''
  if (/pixel limit/i.test(text)) return refusal('the picture has more pixels than are taken')
  if (/timeout/i.test(text)) return refusal('the picture takes too long to decode')
  return refusal('the picture is damaged: it cannot be decoded to its end')
}
