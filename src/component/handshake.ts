import { createHash, timingSafeEqual } from 'node:crypto'
import { type Element, textOf } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { ComponentStream } from './stream.ts'

/**
 * XEP-0114 3: the component shows that it knows the secret. Wrong ones are counted as failed logins are, and the more there
 * were the later comes the answer. Rejects with the StreamError that ends the stream.
 */
export async function logIn(stream: ComponentStream, handshake: Element): Promise<void> {
  const { server, ip, settings, xmpp } = stream
  const component = stream.component!
  const { name } = component
  stream.loggingIn = true
  const verdict = server.failures.check(ip, name)
  if (!verdict.allowed) {
    const wait = Math.ceil(verdict.retryAfter / 1000)
    server.log.info({ component: name, ip, wait }, 'a login of a component was not heard: too many failed')
    throw new StreamError('policy-violation', `too many failed logins: try again in ${wait} seconds`)
  }
  const isRight = knows(textOf(handshake).trim(), xmpp.id!, component.settings.password)
  const mayCome = settings.from(ip)
  if (!isRight || !mayCome) {
    server.counters.failures.value++
    server.failures.failed(ip, name)
    const why = isRight ? 'it may not log in from this address (access of the listener)' : 'its password is another one'
    server.log.warn({ component: name, ip, why }, 'a component was not let in')
    const { delay } = server.failures.check(ip, name) as { delay?: number }
    if (delay !== undefined && delay > 0) await new Promise(resolve => setTimeout(resolve, delay))
    // The same for both: whom the listener keeps out learns nothing either.
    throw new StreamError('not-authorized', 'the handshake is wrong')
  }
  server.failures.succeeded(ip, name)
  component.makeRoom()
  stream.admitted()
  server.counters.logins.value++
  xmpp.send('<handshake/>')
  component.joined(stream.connection!)
}

/** Whether this is the hash of the stream's id and the secret, in lower-case hex; compared in constant time. */
function knows(given: string, id: string, secret: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  const wanted = createHash('sha1').update(id).update(secret).digest('hex')
  return timingSafeEqual(digest(given), digest(wanted))
}
