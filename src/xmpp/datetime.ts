const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/

/** Ms since 1970 of a XEP-0082 DateTime (`2026-11-24T08:00:00Z`); undefined if the text is none. */
export function parseDateTime(text: string): number | undefined {
  if (!DATE_TIME.test(text)) return undefined
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? undefined : ms
}
