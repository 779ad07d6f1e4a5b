export {
  type Attrs,
  type Child,
  childElements,
  childIn,
  childText,
  clone,
  Element,
  elementNs,
  findChild,
  findChildren,
  firstChild,
  hasChild,
  MAX_DEPTH,
  setAttr,
  textOf,
  xml,
} from './element.ts'
export { XmlError, type XmlStreamCondition, XmlStreamError } from './errors.ts'
export { escapeAttr, escapeText } from './escape.ts'
export { parseHead } from './head.ts'
export { NS } from './ns.ts'
export type { ParserHandler, ParserLimits, ParserOptions } from './options.ts'
export { parseElement } from './parse.ts'
export { StreamParser } from './parser.ts'
export { serialize, serializeFor } from './serialize.ts'
