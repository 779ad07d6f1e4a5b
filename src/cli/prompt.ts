import { createInterface } from 'node:readline'

/** Asks for a secret: on a terminal without showing it, else the next line of standard input; undefined if there is none. */
export async function ask(what: string): Promise<string | undefined> {
  const { stdin, stderr } = process
  if (!stdin.isTTY) return firstLine()
  // Before anybody is asked: who types ahead is not to see it.
  stdin.setRawMode(true)
  stderr.write(`${what}: `)
  stdin.setEncoding('utf8')
  try {
    return await typed(stdin)
  } finally {
    stdin.setRawMode(false)
    stderr.write('\n')
  }
}

/** Asks at the terminal; anything but yes is no. */
export async function askYes(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await new Promise<string>(resolve => {
      lines.question(`${question} [y/N] `, resolve)
      lines.once('close', () => resolve(''))
    })
    return /^\s*y(?:es)?\s*$/i.test(answer)
  } finally {
    lines.close()
  }
}

async function firstLine(): Promise<string | undefined> {
  const lines = createInterface({ input: process.stdin })
  try {
    for await (const line of lines) return line
    return undefined
  } catch (error) {
    throw new Error(`standard input cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  } finally {
    lines.close()
    // A pipe or a socket would keep the process; a file has no such thing.
    if ('unref' in process.stdin) process.stdin.unref()
  }
}

/** What is typed up to Enter, with backspace; Ctrl-C and Ctrl-D at the start give up. */
async function typed(input: AsyncIterable<string | Buffer>): Promise<string | undefined> {
  let text = ''
  for await (const chunk of input) {
    for (const char of String(chunk)) {
      if (char === '\r' || char === '\n') return text
      if (char === '\u0003' || (char === '\u0004' && text === '')) return undefined
      if (char === '\u007f' || char === '\b') text = [...text].slice(0, -1).join('')
      else if (char >= ' ') text += char
    }
  }
  return text
}
