/** `${NAME}` and `${NAME:-default}` in the texts of a configuration. `$${` stands for a literal `${`. */

export type Environment = { readonly [name: string]: string | undefined }

const REFERENCE = /\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?/g

// biome-ignore lint/suspicious/noTemplateCurlyInString: it is about them
const SYNTAX = 'wanted ${NAME} or ${NAME:-default} (a literal ${ is written $${)'

interface Substituted {
  readonly text: string
  /** Whether a reference was the whole of it, and came out empty: the option is then as if not written. */
  readonly unset: boolean
  readonly problems: readonly string[]
}

/** As in the shell, `:-` also replaces a variable that is set but empty. */
export function substitute(text: string, env: Environment): Substituted {
  if (!text.includes('${')) return { text, unset: false, problems: [] }
  const problems: string[] = []
  let whole = false
  const result = text.replace(
    REFERENCE,
    (reference: string, name: string | undefined, fallback: string | undefined) => {
      if (reference === '$${') return '${'
      if (name === undefined) {
        problems.push(SYNTAX)
        return reference
      }
      whole ||= reference === text
      const value = env[name]
      if (value !== undefined && value !== '') return value
      if (fallback !== undefined) return fallback
      if (value === undefined)
        problems.push(`the environment has no ${name}, and no default is given (\${${name}:-default})`)
      return ''
    },
  )
  return { text: result, unset: whole && result === '' && problems.length === 0, problems }
}
