/**
 * The words that the server knows, taken from its own source and tests: namespaces, names, form fields, what is handled, and
 * whole elements as well-behaved clients send them. Nothing of it is listed by hand, so that what is new is tried too.
 */
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { IqTable } from '../../src/core/iq.ts'
import { Nonzas } from '../../src/core/nonzas.ts'
import { type Element, firstChild, NS, parseElement } from '../../src/xml/index.ts'
import { TestServer } from '../support/testserver.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')

interface Handled {
  kind: 'get' | 'set' | 'nonza'
  /** Asked of the server itself, not of an account. */
  server: boolean
  ns: string
  name: string
}

export interface Vocabulary {
  namespaces: string[]
  /** Names of elements and attributes, values, fields, nodes. */
  words: string[]
  handled: Handled[]
  /** Elements that tests send; where they put something in, {@link HOLE} stands. */
  samples: Element[]
  /** Of those, the ones with something in a namespace that is handled: by namespace. */
  byNamespace: Map<string, Element[]>
}

/** Stands for what a test puts into a sample. */
export const HOLE = 'HOLE'

const NAMESPACE = /^(?:urn:|https?:\/\/|jabber:|vcard-temp|storage:|msgoffline|eu\.)/

export async function vocabulary(): Promise<Vocabulary> {
  const namespaces = new Set<string>(Object.values(NS))
  const words = new Set<string>()
  for (const file of globSync('src/{modules,core,c2s,xmpp,auth}/**/*.ts', { cwd: ROOT }).sort()) {
    for (const [, word = ''] of readFileSync(path.join(ROOT, file), 'utf8').matchAll(/'([\w:#./{}+-]{1,60})'/g)) {
      if (NAMESPACE.test(word)) namespaces.add(word)
      else if (!word.includes('/')) words.add(word)
    }
  }
  const samples = new Map<string, Element>()
  for (const file of globSync('test/{protocol,support}/*.ts', { cwd: ROOT }).sort()) {
    for (const text of literals(readFileSync(path.join(ROOT, file), 'utf8'))) {
      try {
        samples.set(text, parseElement(text))
      } catch {
        // A part of something, or wrong on purpose.
      }
    }
  }
  const found = await handled()
  const all = [...samples.values()]
  const byNamespace = new Map<string, Element[]>()
  for (const ns of new Set(found.map(one => one.ns))) {
    const about = all.filter(el => el.attrs['xmlns'] === ns || firstChild(el)?.attrs['xmlns'] === ns)
    if (about.length > 0) byNamespace.set(ns, about)
  }
  // Declared, these two end any stream.
  for (const reserved of [NS.XML, NS.XMLNS]) namespaces.delete(reserved)
  return { namespaces: [...namespaces], words: [...words], handled: found, samples: all, byNamespace }
}

/** What a server with all its modules has handlers for. */
async function handled(): Promise<Handled[]> {
  const found: Handled[] = []
  const [addIq, addNonza] = [IqTable.prototype.add, Nonzas.prototype.add]
  IqTable.prototype.add = function (this: IqTable, ...args: Parameters<typeof addIq>) {
    const [, scope, kind, ns, name] = args
    found.push({ kind, server: scope === 'server', ns, name })
    return addIq.apply(this, args)
  } as typeof addIq
  Nonzas.prototype.add = function (ns, name, handler) {
    found.push({ kind: 'nonza', server: false, ns, name })
    return addNonza.call(this, ns, name, handler)
  }
  try {
    const server = await TestServer.start()
    await server.stop()
  } finally {
    IqTable.prototype.add = addIq
    Nonzas.prototype.add = addNonza
  }
  // What streams and sessions take themselves.
  for (const name of ['enable', 'resume', 'r', 'a']) found.push({ kind: 'nonza', server: false, ns: NS.SM, name })
  return [...new Map(found.map(one => [`${one.kind} ${one.server} ${one.ns} ${one.name}`, one])).values()]
}

/** String literals that begin like an element, with a {@link HOLE} for each expression in them. */
function* literals(source: string): Generator<string> {
  for (let at = 0; at < source.length; at++) {
    const quote = source[at]!
    if (!'`\'"'.includes(quote) || source[at + 1] !== '<') continue
    let text = ''
    let end = at + 1
    for (; end < source.length && source[end] !== quote; end++) {
      if (source[end] === '\\') end++
      else if (quote === '`' && source.startsWith('${', end)) {
        end = expressionEnd(source, end + 2)
        text += HOLE
      } else text += source[end]
    }
    yield text
    at = end
  }
}

function expressionEnd(source: string, from: number): number {
  let depth = 1
  let at = from
  for (; at < source.length; at++) {
    if (source[at] === '{') depth++
    else if (source[at] === '}' && --depth === 0) return at
  }
  return at
}
