/**
 * PRECIS string classes (RFC 8264) as XMPP uses them, narrowed to what stringprep (RFC 3454) takes too: the servers in
 * use still prepare addresses with RFC 6122, so a name that they refuse or read differently is of no use to anyone.
 *
 * Every function is idempotent: what it returned once it returns unchanged, so a stored key never moves.
 */

// Rules 9.1 (LetterDigits) and 9.6 (Exceptions, PVALID and CONTEXTO) of RFC 8264; ASCII7 is checked apart.
const IDENTIFIER =
  /^[\x21-\x7e\p{Ll}\p{Lo}\p{Lm}\p{Nd}\p{Mn}\p{Mc}\u00b7\u0375\u05f3\u05f4\u06fd\u06fe\u0f0b\u3007\u30fb]+$/u

// Old Hangul jamo and the disallowed exceptions; what Unicode says to ignore invites look-alikes; ZWJ and ZWNJ, valid in a
// few contexts under PRECIS, are removed by stringprep, so the two would read two names.
const NEVER = /[\u0640\u07fa\u302e\u302f\u3031-\u3035\u303b\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff\p{DI}\p{Cf}]/u

// Controls, format characters, unassigned, private use, lone surrogates, line and paragraph separators; then what
// stringprep alone forbids: U+FFFC, U+FFFD (C.6) and the ideographic description characters (C.7).
const FREEFORM_NEVER = /[\p{C}\p{Zl}\p{Zp}\p{DI}\u1100-\u11ff\u2ff0-\u2fff\ua960-\ua97f\ud7b0-\ud7ff\ufffc\ufffd]/u

const WIDE = /[\uff01-\uff9f\uffe0-\uffe6]+/g
const NON_ASCII_SPACE = /[\p{Zs}--\x20]/gv

// The blocks whose letters and unassigned code points have the bidi class R or AL.
const RTL = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u
const RTL_ENDS =
  /^[\p{L}&&[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]](?:.*[\p{L}&&[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]])?$/sv
const LTR = /[\p{L}--[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]]/v
const EUROPEAN_DIGIT = /[0-9\u06f0-\u06f9]/
const ARABIC_DIGIT = /[\u0660-\u0669]/

/** RFC 5893 section 2 and RFC 3454 section 6 together: begins and ends with a right-to-left letter, has no other kind. */
function breaksBidi(text: string): boolean {
  if (!RTL.test(text)) return false
  if (!RTL_ENDS.test(text) || LTR.test(text)) return true
  return EUROPEAN_DIGIT.test(text) && ARABIC_DIGIT.test(text)
}

/** Appendix A.3 to A.9 of RFC 5892: characters that are valid only beside certain others. */
function breaksContext(text: string): boolean {
  return (
    /(?<!l)\u00b7|\u00b7(?!l)|\u0375(?!\p{sc=Greek})|(?<!\p{sc=Hebrew})[\u05f3\u05f4]/u.test(text) ||
    (text.includes('\u30fb') && !/[\p{sc=Hira}\p{sc=Kana}\p{sc=Han}]/u.test(text)) ||
    (/[\u0660-\u0669]/.test(text) && /[\u06f0-\u06f9]/.test(text))
  )
}

/**
 * The UsernameCaseMapped profile (RFC 8265 section 3.3): width mapping, lower case, NFC, IdentifierClass, bidi rule.
 * Which ASCII characters an address may hold is the caller's to check, on the result: mapping can produce them.
 * @returns undefined when the text is empty or has a character that the class forbids
 */
export function usernameCaseMapped(text: string): string | undefined {
  const narrow = text.replace(WIDE, wide => wide.normalize('NFKC'))
  // Without the final-sigma rule, as nodeprep: the mapping of a character must not depend on its neighbours.
  const mapped = narrow.replaceAll('\u03a3', '\u03c3').toLowerCase().normalize('NFC')
  if (!IDENTIFIER.test(mapped) || NEVER.test(mapped)) return undefined
  // HasCompat (RFC 8264 9.17); and no capital may be left that lower case does not reach.
  if (mapped.normalize('NFKC') !== mapped || mapped.toLowerCase() !== mapped) return undefined
  if (breaksContext(mapped) || breaksBidi(mapped)) return undefined
  return mapped
}

/**
 * The OpaqueString profile (RFC 8265 section 4.2): non-ASCII spaces become spaces, NFC, FreeformClass.
 * @returns undefined when the text is empty or has a character that the class forbids
 */
export function opaqueString(text: string): string | undefined {
  const mapped = text.replace(NON_ASCII_SPACE, ' ').normalize('NFC')
  return mapped === '' || FREEFORM_NEVER.test(mapped) ? undefined : mapped
}

/** OpaqueString for a resourcepart; resourceprep adds the bidi rule. Rules of context are left out, as nobody has them. */
export function resourceString(text: string): string | undefined {
  const mapped = opaqueString(text)
  return mapped === undefined || breaksBidi(mapped) ? undefined : mapped
}

/**
 * Whether servers that still use nodeprep read this prepared localpart as another one (its case folding has sharp s, final
 * sigma and iota subscript; RFC 3454 B.2). Such an account could be impersonated by the one it folds to.
 */
export function foldsElsewhere(local: string): boolean {
  return /\u0345|[\u00df\u03c2\u1f80-\u1faf\u1fb2-\u1fb4\u1fb7\u1fc2-\u1fc4\u1fc7\u1ff2-\u1ff4\u1ff7]/.test(local)
}
