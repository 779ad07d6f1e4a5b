/** Archives that took long to come about, written at once. */
import type { Archive } from '../../src/archive/archive.ts'
import { parseElement } from '../../src/xml/index.ts'
import { Jid } from '../../src/xmpp/jid.ts'
import type { TestServer } from './testserver.ts'

/** A message as large, and as dear to parse, as clients may send. */
export const HUGE = '<a/>'.repeat(64_000)

export interface Kept {
  /** The id that its sender gave it. */
  id: string
  from: string
  to: string
  /** What is in it. */
  content: string
}

/** Puts messages into the archive of a user of `localhost`; resolves with the ids that the server gave them. */
export async function keep(server: TestServer, user: string, messages: Iterable<Kept>): Promise<string[]> {
  const host = server.server.host('localhost')!
  const archive: Archive = host.services.use('archive')!
  const owner = Jid.of(user, 'localhost')
  const ids: string[] = []
  let written: Promise<void> | undefined
  for (const { id, from, to, content } of messages) {
    const ordered = host.ids.ordered()
    const head = `<message type='chat' id='${id}' from='${from}' to='${to}'>`
    const [sender, recipient] = [Jid.from(from).bare, Jid.from(to).bare]
    const peer = sender.equals(owner) ? recipient : sender
    const text = `${head}${content}<stanza-id xmlns='urn:xmpp:sid:0' by='${owner}' id='${ordered}'/></message>`
    const el = parseElement(content.length > 1000 ? `${head}<body/></message>` : text)
    written = host.store.commit([archive.add(owner, ordered, peer, Buffer.from(text), el)])
    ids.push(ordered)
  }
  await written
  return ids
}
