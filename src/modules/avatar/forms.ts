/** The forms that a picture takes in XML: inline for clients, and by reference in the store. */
import { childElements, childText, type Element, findChild, findChildren, NS, textOf, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import type { Picture } from './pictures.ts'

/** Of the element that stands for a picture's bytes. Never sent, and never taken from anybody. */
const REFERENCE = 'urn:hermod:blob'

export function reference(hash: string): Element {
  return xml('blob', { xmlns: REFERENCE, hash })
}

/** The hash of the picture that a stored element refers to. */
export function referenceIn(el: Element): string | undefined {
  return findChild(el, 'blob', REFERENCE)?.attrs['hash']
}

/** Base64 (RFC 4648 4), line breaks allowed (XEP-0084 4.1). Throws `bad-request`. */
export function bytesIn(text: string): Buffer {
  const packed = text.replace(/[ \t\r\n]+/g, '')
  if (packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(packed)) {
    throw new StanzaError('bad-request', 'a picture is written in Base64')
  }
  return Buffer.from(packed, 'base64')
}

/** `<data/>` of XEP-0084, as it is published and as it is kept. */
export function dataElement(content: Buffer | Element): Element {
  return xml('data', { xmlns: NS.AVATAR_DATA }, Buffer.isBuffer(content) ? content.toString('base64') : content)
}

/** `<metadata/>` of one picture, which is in the data node. */
export function metadataElement(picture: Picture): Element {
  return xml('metadata', { xmlns: NS.AVATAR_METADATA }, infoElement(picture))
}

export function infoElement({ hash, type, width, height, size }: Picture): Element {
  const [bytes, w, h] = [size, width, height].map(String)
  return xml('info', { bytes, height: h, id: hash, type, width: w })
}

/** The pictures that metadata names and that are in the data node: not those at addresses (XEP-0398 3.1). */
export function infosIn(metadata: Element): Element[] {
  return findChildren(metadata, 'info').filter(info => !info.attrs['url'])
}

/** What a vCard says of the picture: bytes, `none` where it says that there is none, undefined where it says nothing. */
export function photoOf(vcard: Element): Buffer | 'none' | undefined {
  const [photo] = findChildren(vcard, 'PHOTO')
  if (photo === undefined) return undefined
  const inline = childText(photo, 'BINVAL')
  if (inline === undefined) return findChild(photo, 'EXTVAL') === undefined ? 'none' : undefined
  return inline.trim() === '' ? 'none' : bytesIn(inline)
}

/** The vCard without any picture that is inline: what is at an address elsewhere stays. */
export function withoutPhoto(vcard: Element): Element {
  return rebuilt(vcard, child => !isPhoto(child) || findChild(child, 'EXTVAL') !== undefined)
}

function isPhoto(child: Element): boolean {
  return child.name === 'PHOTO' && (child.attrs['xmlns'] ?? NS.VCARD) === NS.VCARD
}

/** The vCard with this picture. */
export function withPhoto(vcard: Element | undefined, type: string, bytes: Buffer): Element {
  const shown = rebuilt(vcard ?? xml('vCard', { xmlns: NS.VCARD }), child => !isPhoto(child))
  shown.append(xml('PHOTO', {}, xml('TYPE', {}, type), xml('BINVAL', {}, bytes.toString('base64'))))
  return shown
}

/** As {@link photoOf}, of a vCard4: a picture at an address elsewhere is none of ours. */
export function photoOf4(vcard: Element): Buffer | undefined {
  for (const photo of findChildren(vcard, 'photo')) {
    const [, inline] = /^data:[^,]*;base64,(.*)$/is.exec((childText(photo, 'uri') ?? '').trim()) ?? []
    if (inline !== undefined) return bytesIn(inline.replace(/%(2b|2f|3d)/gi, code => decodeURIComponent(code)))
  }
  return undefined
}

export function withoutPhoto4(vcard: Element): Element {
  const isPhoto4 = ({ name, attrs }: Element): boolean =>
    name === 'photo' && (attrs['xmlns'] ?? NS.VCARD4) === NS.VCARD4
  return rebuilt(vcard, child => !isPhoto4(child) || !/^\s*data:/i.test(childText(child, 'uri') ?? 'data:'))
}

export function withPhoto4(vcard: Element, type: string, bytes: Buffer): Element {
  const shown = withoutPhoto4(vcard)
  shown.append(xml('photo', {}, xml('uri', {}, `data:${type};base64,${bytes.toString('base64')}`)))
  return shown
}

/** A copy of the element with the child elements that pass; it shares them with the original, which must not be changed. */
function rebuilt(el: Element, keep: (child: Element) => boolean): Element {
  const copy = xml(el.name, { ...el.attrs })
  copy.children = el.children.filter(child => typeof child === 'string' || keep(child))
  return copy
}

/** Whether nothing is shown: metadata without pictures (XEP-0084 3.5). */
export function isNone(metadata: Element): boolean {
  return childElements(metadata).every(child => child.name === 'stop')
}

/** The text of an element whose text is all it has. */
export function onlyText(el: Element): string | undefined {
  return childElements(el).length === 0 ? textOf(el) : undefined
}
