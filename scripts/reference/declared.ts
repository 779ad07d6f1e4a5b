/** Reads what hooks and services there are out of the sources: declarations merged into `HookMap` and `ServiceMap`. */
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'

const ROOT = path.resolve(import.meta.dirname, '../..')

/** A member of one of the two maps, where it is declared. */
export interface Declared {
  readonly name: string
  /** Its doc comment, in one line. */
  readonly doc: string
  /** Its type, in one line. */
  readonly type: string
  /** From the root of the project. */
  readonly file: string
}

interface Source {
  readonly file: string
  readonly text: string
}

export function sources(): Source[] {
  const files = globSync('src/**/*.ts', { cwd: ROOT }).map(file => file.split(path.sep).join('/'))
  return files.sort().map(file => ({ file, text: readFileSync(path.join(ROOT, file), 'utf8') }))
}

/** The members that the sources declare of this interface, by name. */
export function declared(map: 'HookMap' | 'ServiceMap', from: readonly Source[]): Declared[] {
  const found = from.flatMap(({ file, text }) =>
    [...text.matchAll(new RegExp(`^ *(?:export )?interface ${map} \\{\\n`, 'gm'))].flatMap(({ index, 0: head }) =>
      members(text.slice(index + head.length)).map(member => ({ ...member, file })),
    ),
  )
  return found.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** What is said of a type of this name where it is declared. */
export function docOf(type: string, { text }: Source): string {
  const name = /^\w+/.exec(type)?.[0]
  const doc = new RegExp(`(/\\*\\*(?:(?!\\*/)[sS])*\\*/)\\n(?:export )?(?:interface|class|type) ${name}\\b`).exec(text)
  return doc === null ? '' : oneLine(doc[1]!)
}

/** Those of an interface whose body begins here. */
function members(body: string): { name: string; doc: string; type: string }[] {
  const found: { name: string; doc: string; type: string }[] = []
  let rest = body
  for (;;) {
    const head = /^\s*(\/\*\*(?:(?!\*\/)[\s\S])*\*\/)?\s*(\w+): /.exec(rest)
    if (head === null) return found
    rest = rest.slice(head[0].length)
    const end = endOfType(rest)
    found.push({ name: head[2]!, doc: oneLine(head[1] ?? ''), type: collapsed(rest.slice(0, end)) })
    rest = rest.slice(end)
  }
}

/** A type ends with its line, unless something is open in it. */
function endOfType(text: string): number {
  let open = 0
  for (let at = 0; at < text.length; at++) {
    if ('{(['.includes(text[at]!)) open++
    else if ('})]'.includes(text[at]!)) open--
    else if (text[at] === '\n' && open === 0) return at
  }
  return text.length
}

function oneLine(comment: string): string {
  return comment
    .replace(/^\/\*\*|\*\/$/g, '')
    .replaceAll(/^\s*\*/gm, '')
    .replaceAll(/\{@link ([^}]*)\}/g, '$1')
    .replaceAll(/\s+/g, ' ')
    .trim()
}

/** Without the comments within. */
function collapsed(type: string): string {
  const lines = type.replaceAll(/\/\*\*(?:(?!\*\/)[\s\S])*\*\//g, '').split('\n')
  return lines
    .map(line => line.trim())
    .filter(line => line !== '')
    .join('; ')
    .replaceAll('{; ', '{ ')
    .replaceAll('; }', ' }')
}
