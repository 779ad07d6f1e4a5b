import sharp, { type Colour } from 'sharp'

/** A square of one colour. */
export function png(side = 64, background: Colour = 'teal'): Promise<Buffer> {
  return sharp({ create: { width: side, height: side, channels: 3, background } })
    .png()
    .toBuffer()
}
