/** Elements whose text is a secret, or proves that one is known (RFC 6120 6.4, XEP-0388, XEP-0484, XEP-0480, XEP-0077). */
const SECRET_TEXTS = new Set([
  'auth',
  'challenge',
  'response',
  'initial-response',
  'additional-data',
  'success',
  'hash',
  'handshake', // of a component (XEP-0114 3)
  'salt',
  'task-data',
  'password',
  'digest',
  'token',
  'secret',
  'credentials',
  'header', // of an upload slot (XEP-0363 4): Authorization, Cookie
])
/** In these it is only their own text, and what is in them is looked at by its own name. */
const OWN_TEXT = new Set(['success', 'task-data', 'auth', 'response'])
/** Attributes that are secrets on whatever element. */
const SECRET_ATTRIBUTE = /(\s(?:token|password|secret|pin|preauth)=)("[^"]*"|'[^']*')/gi
/** Addresses by which whoever has them may come in, or write (XEP-0379, XEP-0401, XEP-0363). */
const SECRET_QUERY = /\b(preauth|token|ibr|v|v2|signature|x-amz-[a-z-]+|key)=[^;&"'<>\s]+/gi
/** Fields of forms (XEP-0004) that hold secrets. */
const SECRET_FIELD = /\s(?:var=["'][^"']*(?:pass|secret|token|credential)[^"']*["']|type=["']text-private["'])/i
const TAG = /<[^>]*>/g

/** A text of the stream without its secrets: for a log, not for anybody to parse. */
export function redact(xml: string): string {
  let out = ''
  let at = 0
  /** Open elements below the outermost that hides, and whether texts are hidden there. */
  const open: { name: string; hidden: boolean; field: boolean }[] = []
  for (const { 0: tag, index } of xml.matchAll(TAG)) {
    out += text(xml.slice(at, index), open.at(-1)) + attributes(tag)
    at = index + tag.length
    if (tag.startsWith('</')) open.pop()
    else if (!tag.endsWith('/>') && !tag.startsWith('<?')) open.push(entered(tag, open.at(-1)))
  }
  return out + text(xml.slice(at), open.at(-1))
}

interface Open {
  name: string
  hidden: boolean
  field: boolean
}

function entered(tag: string, parent: Open | undefined): Open {
  const name = /^<(?:[^\s/>:]+:)?([^\s/>]+)/.exec(tag)?.[1] ?? ''
  const within = parent !== undefined && (parent.field || (parent.hidden && !OWN_TEXT.has(parent.name)))
  const field = (name === 'field' && SECRET_FIELD.test(tag)) || parent?.field === true
  return { name, hidden: within || field || SECRET_TEXTS.has(name), field }
}

function text(piece: string, where: Open | undefined): string {
  if (piece === '') return piece
  return where?.hidden === true ? '***' : piece.replace(SECRET_QUERY, '$1=***')
}

function attributes(tag: string): string {
  const slot = /^<(?:put|get)\s/.test(tag) ? tag.replace(/(\surl=)("[^"]*"|'[^']*')/, '$1"***"') : tag
  return slot.replace(SECRET_ATTRIBUTE, '$1"***"').replace(SECRET_QUERY, '$1=***')
}
