import {
  childElements,
  childText,
  clone,
  type Element,
  findChild,
  findChildren,
  NS,
  textOf,
  xml,
} from '../xml/index.ts'

/** An address or number, and what it is for: `home`, `work`, and for phones `cell`, `voice`, `fax`, `video`, `pager`. */
export interface Contact {
  value: string
  kinds: readonly string[]
}

/** What both kinds of vCard can say (XEP-0054, XEP-0292), without the picture. What is not said is not there. */
export interface Card {
  name?: string
  /** Family, given and middle name, prefix, suffix; as many as are said. */
  names?: readonly string[]
  nicknames?: readonly string[]
  emails?: readonly Contact[]
  phones?: readonly Contact[]
  urls?: readonly string[]
  note?: string
  /** The organisation, then its units, from large to small. */
  organization?: readonly string[]
  title?: string
  /** As written: usually YYYY-MM-DD. */
  birthday?: string
}

const N_TEMP = ['FAMILY', 'GIVEN', 'MIDDLE', 'PREFIX', 'SUFFIX']
const N_4 = ['surname', 'given', 'additional', 'prefix', 'suffix']
const KINDS = ['home', 'work', 'cell', 'voice', 'fax', 'video', 'pager']

/** What a vcard-temp says. */
export function readVCard(card: Element): Card {
  const text = (name: string) => filled(childText(card, name))
  const all = (name: string) => findChildren(card, name)
  const [org] = all('ORG')
  const units = org === undefined ? [] : [childText(org, 'ORGNAME'), ...findChildren(org, 'ORGUNIT').map(textOf)]
  const n = findChild(card, 'N')
  const kinds = (el: Element) => KINDS.filter(kind => findChild(el, kind.toUpperCase()) !== undefined)
  return said({
    name: text('FN'),
    names: n && names(N_TEMP.map(part => childText(n, part))),
    nicknames: texts(all('NICKNAME').map(textOf)),
    emails: contacts(all('EMAIL').map(el => [childText(el, 'USERID') ?? textOf(el), kinds(el)])),
    phones: contacts(all('TEL').map(el => [childText(el, 'NUMBER') ?? textOf(el), kinds(el)])),
    urls: texts(all('URL').map(textOf)),
    note: text('DESC') ?? text('NOTE'),
    organization: texts(units),
    title: text('TITLE'),
    birthday: text('BDAY'),
  })
}

/** What a vCard4 says. */
export function readVCard4(card: Element): Card {
  const all = (name: string) => findChildren(card, name)
  const [n] = all('n')
  return said({
    name: texts(all('fn').map(valueIn))?.[0],
    names: n && names(N_4.map(part => childText(n, part))),
    nicknames: texts(all('nickname').map(valueIn)),
    emails: contacts(all('email').map(el => [valueIn(el), kindsOf(el)])),
    phones: contacts(all('tel').map(el => [phoneIn(el), kindsOf(el)])),
    urls: texts(all('url').map(valueIn)),
    note: texts(all('note').map(valueIn))?.[0],
    organization: texts(all('org').flatMap(el => findChildren(el, 'text').map(textOf))),
    title: texts(all('title').map(valueIn))?.[0],
    birthday: texts(all('bday').map(valueIn))?.[0],
  })
}

/** A vcard-temp that says this; of `base`, what a {@link Card} cannot say stays. */
export function writeVCard(card: Card, base?: Element): Element {
  const el = xml('vCard', { xmlns: NS.VCARD })
  const kinds = (contact: Contact) => contact.kinds.map(kind => xml(kind.toUpperCase()))
  text(el, 'FN', card.name)
  if (card.names !== undefined) el.append(parts('N', N_TEMP, card.names))
  for (const name of card.nicknames ?? []) text(el, 'NICKNAME', name)
  for (const email of card.emails ?? []) el.append(xml('EMAIL', {}, kinds(email), xml('USERID', {}, email.value)))
  for (const phone of card.phones ?? []) el.append(xml('TEL', {}, kinds(phone), xml('NUMBER', {}, phone.value)))
  for (const url of card.urls ?? []) text(el, 'URL', url)
  const [organization, ...units] = card.organization ?? []
  if (organization !== undefined) {
    el.append(
      xml(
        'ORG',
        {},
        xml('ORGNAME', {}, organization),
        units.map(unit => xml('ORGUNIT', {}, unit)),
      ),
    )
  }
  text(el, 'TITLE', card.title)
  text(el, 'BDAY', card.birthday)
  text(el, 'DESC', card.note)
  return keep(el, base, 'FN N NICKNAME EMAIL TEL URL ORG TITLE BDAY DESC NOTE')
}

/** A vCard4 that says this; of `base`, what a {@link Card} cannot say stays. */
export function writeVCard4(card: Card, base?: Element): Element {
  const el = xml('vcard', { xmlns: NS.VCARD4 })
  const parameters = ({ kinds }: Contact) =>
    kinds.length > 0 &&
    xml(
      'parameters',
      {},
      xml(
        'type',
        {},
        kinds.map(kind => xml('text', {}, kind)),
      ),
    )
  const property = (name: string, kind: string, value: string | undefined) => {
    if (value !== undefined) el.append(xml(name, {}, xml(kind, {}, value)))
  }
  property('fn', 'text', card.name)
  if (card.names !== undefined) el.append(parts('n', N_4, card.names))
  for (const name of card.nicknames ?? []) property('nickname', 'text', name)
  for (const email of card.emails ?? []) el.append(xml('email', {}, parameters(email), xml('text', {}, email.value)))
  for (const phone of card.phones ?? []) {
    // RFC 3966: a telephone URI has no spaces; what is none goes as text.
    const isUri = /^\+?[0-9().-]+$/.test(phone.value)
    const value = isUri ? xml('uri', {}, `tel:${phone.value}`) : xml('text', {}, phone.value)
    el.append(xml('tel', {}, parameters(phone), value))
  }
  for (const url of card.urls ?? []) property('url', 'uri', url)
  if (card.organization !== undefined)
    el.append(
      xml(
        'org',
        {},
        card.organization.map(unit => xml('text', {}, unit)),
      ),
    )
  property('title', 'text', card.title)
  property('bday', /^[-0-9]+$/.test(card.birthday ?? '') ? 'date' : 'text', card.birthday)
  property('note', 'text', card.note)
  return keep(el, base, 'fn n nickname email tel url org title bday note')
}

/** Whether two say the same. */
export function sameCard(a: Card, b: Card): boolean {
  return JSON.stringify(said(a)) === JSON.stringify(said(b))
}

/** In one order, without what is not said. */
function said(card: Card): Card {
  const { name, names, nicknames, emails, phones, urls, note, organization, title, birthday } = card
  const all = { name, names, nicknames, emails, phones, urls, note, organization, title, birthday }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined && value.length > 0)) as Card
}

function filled(text: string | undefined): string | undefined {
  const trimmed = text?.trim()
  return trimmed === '' ? undefined : trimmed
}

function texts(list: readonly (string | undefined)[]): string[] | undefined {
  const found = list.map(filled).filter(text => text !== undefined)
  return found.length > 0 ? found : undefined
}

/** Trailing parts that are empty are not said. */
function names(list: readonly (string | undefined)[]): string[] | undefined {
  const all = list.map(text => text?.trim() ?? '')
  while (all.at(-1) === '') all.pop()
  return all.length > 0 ? all : undefined
}

function contacts(list: readonly [value: string, kinds: string[]][]): Contact[] | undefined {
  const found = list.map(([value, kinds]) => ({ value: value.trim(), kinds })).filter(({ value }) => value !== '')
  return found.length > 0 ? found : undefined
}

/** The value of a vCard4 property: what is not its parameters. */
function valueIn(el: Element): string {
  const value = childElements(el).find(child => child.name !== 'parameters')
  return value === undefined ? '' : textOf(value)
}

/** RFC 3966: the number of a telephone URI; what is written as text is as it is. */
function phoneIn(el: Element): string {
  const uri = childText(el, 'uri')
  return uri === undefined ? valueIn(el) : uri.trim().replace(/^tel:/i, '')
}

function kindsOf(el: Element): string[] {
  const type = findChild(findChild(el, 'parameters') ?? el, 'type')
  const given = new Set(
    type === undefined ? [] : findChildren(type, 'text').map(kind => textOf(kind).trim().toLowerCase()),
  )
  return KINDS.filter(kind => given.has(kind))
}

function text(el: Element, name: string, value: string | undefined): void {
  if (value !== undefined) el.append(xml(name, {}, value))
}

function parts(name: string, tags: readonly string[], values: readonly string[]): Element {
  return xml(
    name,
    {},
    values.map((value, i) => value !== '' && xml(tags[i]!, {}, value)),
  )
}

function keep(el: Element, base: Element | undefined, written: string): Element {
  const names = new Set(written.split(' '))
  for (const child of base === undefined ? [] : childElements(base)) {
    if (!names.has(child.name)) el.append(clone(child))
  }
  return el
}
