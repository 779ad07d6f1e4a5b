/** The conditions (RFC 6120 4.9.3) a parser can close a stream with. */
export type XmlStreamCondition =
  | 'not-well-formed'
  | 'restricted-xml'
  | 'bad-namespace-prefix'
  | 'invalid-xml'
  | 'policy-violation'
  | 'unsupported-encoding'
  | 'bad-format'

/** What a peer's bytes did wrong: the stream error to close with. `text` is fixed wording, it never quotes the input. */
export class XmlStreamError extends Error {
  readonly condition: XmlStreamCondition
  readonly text: string

  constructor(condition: XmlStreamCondition, text: string) {
    super(`${condition}: ${text}`)
    this.name = 'XmlStreamError'
    this.condition = condition
    this.text = text
  }
}

/** A tree that has no XML form: a forbidden character, a bad name, an undeclared prefix, too deep. */
export class XmlError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'XmlError'
  }
}
