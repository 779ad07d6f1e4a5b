/** A small disk of its own for the server's data, that can be filled up and freed again. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

export interface SmallDisk {
  readonly path: string
  /** Leaves not a byte free, until `free`. */
  fill(): void
  free(): void
  unmount(): void
}

/** Mounts a tmpfs; a string says why that is not possible here. */
export function smallDisk(path: string, size = '24m'): SmallDisk | string {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux, to mount a small tmpfs'
  mkdirSync(path, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path], { stdio: 'pipe' })
  } catch (error) {
    return `mount of a tmpfs: ${error instanceof Error ? error.message.trim() : String(error)}`
  }
  const ballast = join(path, 'ballast')
  let timer: NodeJS.Timeout | undefined
  const fill = (): void => {
    const file = openSync(ballast, 'a')
    try {
      for (const block of [Buffer.alloc(1 << 20), Buffer.alloc(1 << 12)]) {
        while (writable(file, block));
      }
    } finally {
      closeSync(file)
    }
  }
  const free = (): void => {
    clearInterval(timer)
    rmSync(ballast, { force: true })
  }
  const unmount = (): void => {
    free()
    execFileSync('umount', ['-l', path])
  }
  process.once('exit', unmount)
  return {
    path,
    fill: () => {
      fill()
      // What the server deletes meanwhile is taken as well.
      timer = setInterval(fill, 20)
    },
    free,
    unmount: () => {
      process.off('exit', unmount)
      unmount()
    },
  }
}

/** Writes the block; false when the disk has no room for all of it. */
function writable(file: number, block: Buffer): boolean {
  try {
    return writeSync(file, block) === block.length
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return false
    throw error
  }
}
