/**
 * What the package offers as `hermod/testing`: whole servers within a test, and clients that talk to them as hermod's own
 * tests do. It needs the package `saxes`, which reads what the server sends by other rules than its own.
 */

export { lastingStore } from './faultystore.ts'
export type { RawClient } from './rawclient.ts'
export { child, type XmlElement } from './rawxml.ts'
export { available, bare, befriend, nothing, presenceFrom, refused, says, serve } from './talk.ts'
export { type TestOptions, TestServer } from './testserver.ts'
