import type { XmlElement } from './rawxml.ts'

/** What each of a list has under this name. */
export function pluck<T, K extends keyof T>(list: Iterable<T>, name: K): T[K][] {
  return Array.from(list, one => one[name])
}

/** This attribute of each. */
export function attrs(list: readonly Pick<XmlElement, 'attrs'>[], name: string): (string | undefined)[] {
  return list.map(one => one.attrs[name])
}
