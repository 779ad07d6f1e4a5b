/** The description of the project that xmpp.org's lists read (XEP-0453). */
import type { ModuleSchema, XepReference } from '../src/config/schema.ts'
import { xepsOf } from '../src/config/xeps.ts'
import { escapeText } from '../src/xml/index.ts'

const RFCS = [5802, 5929, 6120, 6121, 7590, 7622, 7677, 9266]

/** What core, c2s and auth speak; all else says its module. */
const CORE: readonly XepReference[] = [
  { number: 4, version: '2.13.2' },
  { number: 68, version: '1.3.0' },
  { number: 82, version: '1.1.1' },
  { number: 198, version: '1.6.3' },
  { number: 203, version: '2.0' },
  { number: 297, version: '1.0' },
  { number: 334, version: '1.0.0' },
  { number: 368, version: '1.1.0' },
  { number: 386, version: '1.1.0' },
  { number: 388, version: '1.0.4' },
  { number: 440, version: '1.0.0' },
  { number: 474, version: '0.5.0' },
  { number: 478, version: '0.2.0' },
  { number: 480, version: '0.2.0' },
  { number: 484, version: '0.2.0' },
]

/** What is not as the XEP has it, and why not. */
const NOTES: Readonly<Record<number, string>> = {
  386: 'Messages that wait are not cleared: docs/decisions/007-bind2-keeps-messages.md',
}

/** hermod.doap */
export function doap(modules: readonly ModuleSchema[], about: { version: string; description: string }): string {
  const xeps = new Map<number, XepReference>()
  for (const xep of [...CORE, ...modules.flatMap(module => xepsOf(module))]) xeps.set(xep.number, xep)
  const sorted = [...xeps.values()].sort((a, b) => a.number - b.number)
  return `<?xml version='1.0' encoding='UTF-8'?>
<!-- Generated from the modules by \`npm run docs\`: do not edit. -->
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'
         xmlns='http://usefulinc.com/ns/doap#'
         xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project>
    <name>hermod</name>
    <shortdesc xml:lang='en'>${escapeText(about.description)}</shortdesc>
    <release><Version><revision>${about.version}</revision></Version></release>
    <programming-language>TypeScript</programming-language>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>
${RFCS.map(rfc => `    <implements rdf:resource='https://www.rfc-editor.org/info/rfc${rfc}'/>`).join('\n')}
${sorted.map(implemented).join('\n')}
  </Project>
</rdf:RDF>
`
}

function implemented({ number, version }: XepReference): string {
  const page = `https://xmpp.org/extensions/xep-${String(number).padStart(4, '0')}.html`
  const lines = [`<xmpp:xep rdf:resource='${page}'/>`]
  if (version !== undefined) lines.push(`<xmpp:version>${version}</xmpp:version>`)
  const note = NOTES[number]
  if (note !== undefined) lines.push(`<xmpp:note>${escapeText(note)}</xmpp:note>`)
  return `    <implements><xmpp:SupportedXep>${lines.join('')}</xmpp:SupportedXep></implements>`
}
