import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Config } from '../config/core.ts'

/** What a person can do about a server that does not start; anything else is as it was. */
export function explain(error: unknown, config: Config, start: string): unknown {
  const { code, port, address, path: file } = error as NodeJS.ErrnoException & { port?: number; address?: string }
  if (port === undefined) return file === undefined ? error : (explainFile(file, code) ?? error)
  const place = Math.max(
    0,
    config.listen.findIndex(l => l.port === port),
  )
  const other = `${start} --set listen.${place}.port=PORT`
  if (code === 'EADDRINUSE')
    return new Error(`port ${port} is in use: stop what listens there, or choose another: ${other}`)
  if (code === 'EACCES') return new Error(`this user may not open port ${port}: choose one above 1023: ${other}`)
  if (code === 'EADDRNOTAVAIL') return new Error(`this machine has no address ${address} (listen.${place}.ip)`)
  return error
}

/** Undefined for what is not about the right to write there. */
export function explainFile(file: string, code: string | undefined): Error | undefined {
  const folder = path.dirname(file)
  // Of sockets the system says EACCES (libuv) where there is no such folder.
  if (code !== undefined && !existsSync(folder))
    return new Error(`there is no folder ${folder}: make it, or name another`)
  if (code === 'EACCES' || code === 'EPERM') {
    const own = process.geteuid?.() ?? 'the user of the server'
    return new Error(
      `this user may not write ${file}: give the folder ${folder} to it (chown -R ${own} ${folder}), or name another`,
    )
  }
  if (code === 'EROFS') return new Error(`${folder} is on a file system that cannot be written: name another folder`)
  if (code === 'ENOSPC') return new Error(`the disk that ${folder} is on is full: make room, or name another folder`)
  return undefined
}
