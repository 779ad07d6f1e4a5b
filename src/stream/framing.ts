import {
  type Element,
  escapeAttr,
  NS,
  type ParserHandler,
  type ParserLimits,
  StreamParser,
  serialize,
} from '../xml/index.ts'
import type { StreamError } from '../xmpp/errors.ts'

/** What a stream uses of a {@link StreamParser}. */
export type StreamReader = Pick<
  StreamParser,
  'contentNs' | 'held' | 'pause' | 'rest' | 'resume' | 'setLimits' | 'stop' | 'write'
>

/**
 * How a stream lies in what its transport carries: as one document (RFC 6120), or otherwise (RFC 7395, XEP-0124). Its texts
 * are pieces, each of them sent by itself.
 */
export interface Framing {
  /** Of the stanzas. */
  readonly contentNs: string
  /** How long our header waits, on an encrypted connection and once, for the peer's turn to end (ms). */
  readonly headerPause: number
  readonly end: string
  /**
   * Whether a stream has a version (RFC 6120 4.7.5): of XMPP 1.0 it must have one, which says that features follow; of older
   * protocols it may (then ours has one where the peer's has), or has none.
   */
  readonly version: 'required' | 'optional' | 'none'
  /** What is sent where there was nothing else to send for a while; undefined where the transport sees to that. */
  readonly keepalive: string | undefined
  /** Reads one stream, from its header. */
  reader(handler: ParserHandler, limits: ParserLimits): StreamReader
  /** Whether what `onOpen` of the reader was given begins a stream. */
  isHeader(root: Element): boolean
  /** What our side says as it begins (RFC 6120 4.7); the id is that of the receiving end only. */
  header(ours: { id: string | undefined; from: string; to: string | undefined; versioned: boolean }): string
  /** The error that ends the stream (RFC 6120 4.9); the end follows. Never throws: of what cannot be written the condition is left. */
  error(error: StreamError): string
}

export interface DocumentOptions {
  /** Default: required. */
  version?: Framing['version']
  /** Default: none. */
  headerPause?: number
  /** Namespaces, by prefix, that the header declares for the whole of the document beside that of streams. */
  prefixes?: Readonly<Record<string, string>>
}

/** RFC 6120 4: an open document, whose pieces follow one another as bytes. */
export function documentFraming(contentNs: string, options: DocumentOptions = {}): Framing {
  const { version = 'required', headerPause = 0, prefixes = {} } = options
  const declared = Object.entries({ stream: NS.STREAM, ...prefixes }).map(([prefix, ns]) => ` xmlns:${prefix}='${ns}'`)
  return {
    contentNs,
    version,
    headerPause,
    end: '</stream:stream>',
    keepalive: ' ',
    reader: (handler, limits) => new StreamParser(handler, limits),
    isHeader: root => root.name === 'stream' && root.attrs['xmlns'] === NS.STREAM,
    header({ id, from, to, versioned }) {
      const attrs = `${attr('id', id)} from='${from}'${attr('to', to)}${versioned ? " version='1.0'" : ''} xml:lang='en'`
      return `<?xml version='1.0'?><stream:stream xmlns='${contentNs}'${declared.join('')}${attrs}>`
    },
    error(error) {
      try {
        return serialize(error.toElement())
      } catch {
        return `<stream:error><${error.condition} xmlns='${NS.STREAM_ERRORS}'/></stream:error>`
      }
    },
  }
}

function attr(name: string, value: string | undefined): string {
  return value === undefined ? '' : ` ${name}='${escapeAttr(value)}'`
}
