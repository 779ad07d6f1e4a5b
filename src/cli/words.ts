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
  const shift = info.args[0]?.kind === 'account' && words.length > 0 && !words[0]!.includes('@') ? 1 : 0
  for (const [i, arg] of info.args.entries()) {
    const place = i + shift
    const word = out[place]
    if (arg.kind === 'file' && word !== undefined) out[place] = path.resolve(word)
    if (arg.kind !== 'secret' || arg.optional || out.length !== place) continue
    const secret = await ask(arg.doc)
    if (secret === undefined || secret === '') throw new Exit(EXIT.usage, `${arg.name} is missing`)
    out.push(secret)
  }
  return out
}
