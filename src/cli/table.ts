import type { CommandResult, TableRow } from '../core/commands/command.ts'

/** What a command gave back, for people; undefined where there is nothing to say. `columns` are those of a table. */
export function shown(result: CommandResult, columns: readonly string[] | undefined): string | undefined {
  if (columns !== undefined) return table(result as readonly TableRow[], columns)
  return result === null ? undefined : text(result)
}

/** Rows as aligned columns. */
export function table(rows: readonly TableRow[], columns: readonly string[]): string {
  if (rows.length === 0) return '(none)'
  const widths = columns.map(c => Math.max(c.length, ...rows.map(row => text(row[c]).length)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === cells.length - 1 ? cell : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd()
  return [line(columns.map(c => c.toUpperCase())), ...rows.map(row => line(columns.map(c => text(row[c]))))].join('\n')
}

function text(value: unknown): string {
  return Array.isArray(value) ? value.join(', ') : String(value ?? '')
}
