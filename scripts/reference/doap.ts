/** The description of the project that xmpp.org's lists read (XEP-0453). */
import { escapeText } from '../../src/xml/index.ts'
import type { Spoken } from './xeps.ts'

const RFCS = [5802, 5929, 6120, 6121, 7590, 7622, 7677, 9266]

/** hermod.doap */
export function doap(xeps: readonly Spoken[], about: { version: string; description: string }): string {
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
${xeps.map(implemented).join('\n')}
  </Project>
</rdf:RDF>
`
}

function implemented({ number, version, partial }: Spoken): string {
  const page = `https://xmpp.org/extensions/xep-${String(number).padStart(4, '0')}.html`
  const lines = [`<xmpp:xep rdf:resource='${page}'/>`]
  lines.push(`<xmpp:status>${partial === undefined ? 'complete' : 'partial'}</xmpp:status>`)
  lines.push(`<xmpp:version>${version}</xmpp:version>`)
  if (partial !== undefined) {
    const plain = partial.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1') // without the links of Markdown
    lines.push(`<xmpp:note>${escapeText(plain)}</xmpp:note>`)
  }
  return `    <implements><xmpp:SupportedXep>${lines.join('')}</xmpp:SupportedXep></implements>`
}
