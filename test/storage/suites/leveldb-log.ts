/**
 * A record of LevelDB's write-ahead log (leveldb/doc/log_format.md) with one batch of puts: masked CRC-32C, u16 length, type 1
 * (whole); in it u64 sequence, u32 count, and per put 1, length and key, length and value. Integers are little-endian.
 */
export function logRecord(puts: readonly (readonly [key: string, value: string])[]): Buffer {
  const parts: Buffer[] = []
  const head = Buffer.alloc(12)
  head.writeBigUInt64LE(1_000_000n)
  head.writeUInt32LE(puts.length, 8)
  for (const [key, value] of puts) parts.push(Buffer.of(1), field(key), field(value))
  const body = Buffer.concat([Buffer.of(1), head, ...parts])
  const crc = crc32c(body)
  const record = Buffer.alloc(6)
  record.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0)
  record.writeUInt16LE(body.length - 1, 4)
  return Buffer.concat([record, body])
}

function field(text: string): Buffer {
  const bytes = Buffer.from(text)
  if (bytes.length > 127) throw new Error('one byte of length is enough here')
  return Buffer.concat([Buffer.of(bytes.length), bytes])
}

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
  }
  return ~crc >>> 0
}
