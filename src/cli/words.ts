import path from 'node:path'
import type { CommandInfo } from '../core/control/protocol.ts'
import { EXIT, Exit } from './exit.ts'

/**
 * The words of a command as the server wants them: paths absolute, and a secret that is missing at the end asked for.
 * Whether they are right, the server says.
 */
export async function completeWords(
  info: CommandInfo,
  words: readonly string[],
  ask: (what: string) => Promise<string | undefined>,
): Promise<string[]> {
  const out = [...words]
  // "user host" for an account, as in ejabberdctl, takes a place more.
  const args = Object.entries(info.args)
  const shift = args[0]?.[1].kind === 'account' && words.length > 0 && !words[0]!.includes('@') ? 1 : 0
  for (const [i, [name, arg]] of args.entries()) {
    const place = i + shift
    const word = out[place]
    if (arg.kind === 'file' && word !== undefined) out[place] = path.resolve(word)
    if (arg.kind !== 'secret' || arg.optional || out.length !== place) continue
    const secret = await ask(arg.doc)
    if (secret === undefined || secret === '') throw new Exit(EXIT.usage, `${name} is missing`)
    out.push(secret)
  }
  return out
}

/**
 * Whether what cannot be taken back is wanted: said on the command line (`--yes`, before the command or after it), or asked at
 * the terminal. Rejects with {@link Exit} where the answer is no, and where there is nobody to ask.
 */
export async function confirmed(
  info: CommandInfo,
  words: readonly string[],
  said: boolean,
  ask: ((question: string) => Promise<boolean>) | undefined,
): Promise<{ words: readonly string[]; yes: boolean }> {
  if (info.confirm === undefined) return { words, yes: said }
  const rest = words.filter(word => word !== '--yes')
  if (said || rest.length < words.length) return { words: rest, yes: true }
  if (ask === undefined) {
    throw new Exit(EXIT.usage, `${info.confirm} There is no terminal to ask at: if that is wanted, add --yes`)
  }
  if (await ask(`${info.confirm} Go on?`)) return { words, yes: true }
  throw new Exit(EXIT.failed, 'nothing was done')
}
