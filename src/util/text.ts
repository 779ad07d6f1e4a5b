/**
 * The beginning of a text: at most so many UTF-16 units, and never half a character. Half a pair has no form in UTF-8 or XML:
 * who quotes a stranger in an answer or a line of the log cuts with this.
 */
export function cut(text: string, units: number): string {
  if (text.length <= units) return text
  const last = text.charCodeAt(units - 1)
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? units - 1 : units)
}

/** `xs:boolean`: what stands for true in attributes and forms. */
export function isTrue(text: string | undefined): boolean {
  return text === 'true' || text === '1'
}

/** Throws where the name of a `what` is not snake_case. */
export function checkName(what: string, name: string): void {
  if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new Error(`"${name}" is no name of a ${what}: they are in snake_case`)
}
