import { DEVICE } from '../devices.ts'
import { type Session, Slot } from '../session.ts'

/** On sessions whose client chose its resource: most clients choose the same each time. */
export const CHOSEN = new Slot<true>('resource chosen by the client')

/** Whose session it is: a device that names itself (XEP-0388 2.3), else the resource, by which most clients stay. */
export function deviceOf({ slots, jid }: Session): string {
  const device = slots.get(DEVICE)
  return device === undefined ? `resource ${jid.resource}` : nameOf(device)
}

/** The same of a device by its id. */
export function nameOf(device: string): string {
  return `device ${device}`
}

/** Whether the same device can be known again when it comes back. */
export function isLasting({ slots }: Session): boolean {
  return slots.get(DEVICE) !== undefined || slots.get(CHOSEN) === true
}
