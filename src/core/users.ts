import type { Session } from './session.ts'

/** Who has an account here; the rest of it (passwords, mechanisms) is the business of `auth`. */
export interface Users {
  exists(user: string): boolean | Promise<boolean>
  /** False if the name is taken. */
  create(user: string, password: string): Promise<boolean>
  /** Ends what got in by the old one: sessions (but the one given), and what is on its way to one. */
  setPassword(user: string, password: string, but?: Session): Promise<boolean>
  verify(user: string, password: string): Promise<boolean>
  /** Ends all sessions, as below. */
  remove(user: string): Promise<boolean>
  /** Ends all sessions (but the one given), and what is on its way to one. */
  disable(user: string, reason?: string, but?: Session): Promise<boolean>
  enable(user: string): Promise<boolean>
  isDisabled(user: string): boolean | Promise<boolean>
  list(after?: string, limit?: number): Promise<string[]>
}
