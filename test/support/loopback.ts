let last = 0

/** An address of 127.0.0.0/8 that nobody else listens on: each process of tests has some of its own, so that ports may be fixed. */
export function freeAddress(): string {
  if (++last > 254) throw new Error('no addresses are left')
  const { pid } = process
  return `127.${64 + ((pid >> 8) & 63)}.${pid & 255}.${last}`
}
