import type { TableRow } from '../core/commands/command.ts'

/** Rows as aligned columns, for people. */
export function table(rows: readonly TableRow[], columns: readonly string[]): string {
  if (rows.length === 0) return '(none)'
  const text = (value: unknown): string => (value === null || value === undefined ? '' : String(value))
  const widths = columns.map(c => Math.max(c.length, ...rows.map(row => text(row[c]).length)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === cells.length - 1 ? cell : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd()
  return [line(columns.map(c => c.toUpperCase())), ...rows.map(row => line(columns.map(c => text(row[c]))))].join('\n')
}
