/** A client for the README's tour: `npm run demo -- send FROM PASSWORD TO TEXT`, `npm run demo -- read JID PASSWORD`. */
import { client, xml } from '@xmpp/client'

// The tour's server has a self-signed certificate, and is on this machine.
process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
process.removeAllListeners('warning')

/** How long `read` waits for another message (ms). */
const QUIET = 1500

const [verb, jid, password, ...rest] = process.argv.slice(2)
const [username, domain] = jid?.split('@') ?? []
if (
  !(verb === 'send' || verb === 'read') ||
  !username ||
  !domain ||
  !password ||
  (verb === 'send' && rest.length < 2)
) {
  console.error('usage: npm run demo -- send FROM PASSWORD TO TEXT\n       npm run demo -- read JID PASSWORD')
  process.exit(2)
}

const xmpp = client({
  service: `xmpp://${process.env['HERMOD_ADDRESS'] ?? 'localhost:5222'}`,
  domain,
  username,
  password,
})
xmpp.on('error', (error: Error) => {
  console.error(`${error.message} (is the server running, and is the password right?)`)
  process.exit(1)
})

if (verb === 'send') {
  xmpp.on('online', async () => {
    const [to, ...words] = rest
    await xmpp.send(xml('message', { to, type: 'chat', id: crypto.randomUUID() }, xml('body', {}, words.join(' '))))
    await xmpp.stop()
    console.log('sent')
  })
} else {
  let timer = setTimeout(() => void xmpp.stop(), 2 * QUIET)
  xmpp.on('online', () => void xmpp.send(xml('presence')))
  xmpp.on('stanza', (stanza: Stanza) => {
    const body = stanza.is('message') ? stanza.getChildText('body') : null
    if (body === null) return
    clearTimeout(timer)
    timer = setTimeout(() => void xmpp.stop(), QUIET)
    const sent = stanza.getChild('delay')?.attrs['stamp']
    console.log(`${stanza.attrs['from']}${sent === undefined ? '' : ` (sent ${sent})`}: ${body}`)
  })
}
await xmpp.start()

interface Stanza {
  attrs: Record<string, string | undefined>
  is(name: string): boolean
  getChild(name: string): Stanza | undefined
  getChildText(name: string): string | null
}
