import type { ModuleSchema, XepReference } from './schema.ts'

export function xepsOf({ xep }: ModuleSchema): readonly XepReference[] {
  return xep === undefined ? [] : [xep].flat()
}

/** `XEP-0012` */
export function xepName({ number }: XepReference): string {
  return `XEP-${String(number).padStart(4, '0')}`
}

/** `XEP-0012, XEP-0203`, or an empty text. */
export function xepNames(module: ModuleSchema): string {
  return xepsOf(module).map(xepName).join(', ')
}
