import { chmod, lstat, mkdir, readdir, stat } from 'node:fs/promises'
import path from 'node:path'

/** The part of a pino logger that is used. */
interface Log {
  warn(fields: object, message: string): void
}

const OTHERS = 0o077

/**
 * A folder, made if need be, that no other user of the machine can look into: its mode is mended, and that of what lies in it
 * (not below that: nobody gets there). Rejects with an Error that says what to do where that cannot be.
 */
export async function makePrivate(folder: string, log?: Log): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw unmakeable(folder, error)
  })
  const { mode, uid } = await stat(folder)
  const own = process.geteuid?.()
  // There are no such modes on Windows.
  if (own === undefined) return
  if (mode & OTHERS) {
    await mend(folder, mode, uid, own)
    log?.warn({ folder }, `other users of this machine could read ${folder} (mode ${octal(mode)}): mended to 0700`)
  }
  if (uid !== own) log?.warn({ folder }, `${folder} belongs to user ${uid}, who can read what this server keeps`)
  for (const name of await names(folder, own)) {
    const file = path.join(folder, name)
    const found = await lstat(file).catch(() => undefined)
    // The mode of a link says nothing; what it leads to is not ours.
    if (found === undefined || !(found.isFile() || found.isDirectory()) || !(found.mode & OTHERS)) continue
    // In a folder that is closed by now, so no reason not to start.
    await mend(file, found.mode, found.uid, own).catch((err: unknown) => log?.warn({ err }, 'a mode was not mended'))
  }
}

async function names(folder: string, own: number): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (cause) {
    throw new Error(`this user may not read the folder ${folder}: give it to it (chown -R ${own} ${folder})`, { cause })
  }
}

async function mend(file: string, mode: number, uid: number, own: number): Promise<void> {
  try {
    await chmod(file, mode & 0o7777 & ~OTHERS)
  } catch (cause) {
    const problem = `${file} belongs to user ${uid} and other users of this machine can read it (mode ${octal(mode)})`
    throw new Error(
      `${problem}: give it to the server's user (chown -R ${own} ${file}), or name a folder that the server can make itself, such as one inside`,
      { cause },
    )
  }
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0')
}

function unmakeable(folder: string, error: unknown): Error {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EEXIST' || code === 'ENOTDIR') {
    return new Error(`${folder} is no folder: move away what is there, or name another place`, { cause: error })
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new Error(`this user may not make the folder ${folder}: make it and give it to this user, or name another`, {
      cause: error,
    })
  }
  return new Error(`the folder ${folder} cannot be made: ${message}`, { cause: error })
}
