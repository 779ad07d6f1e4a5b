/** Other servers that have a stream to ours, by their certificate (XEP-0178), and are silent. */
import type { ServerProcess } from '../../test/support/launched.ts'
import { PORTS } from '../../test/support/peers/peer.ts'
import { NS_STREAM, Wire } from '../../test/support/wire.ts'
import { memoryOf, pause, quiet } from './cost.ts'
import { each, FEATURES } from './session.ts'

/** They are as many domains below this one, which one certificate covers. */
export const PEERS = 'peers.example'
/** Connections from one address: peers are no crowd from one place. */
const OF_ADDRESS = 100
const WARM_UP = 50
/**
 * What ejabberd and Prosody offer with OpenSSL 3.0. Node offers more, which makes for handshakes that do not fit into a
 * kilobyte; of their buffers some 12 KB stay with Node, and 20 with ejabberd.
 */
const GROUP = 'X25519'
/** After what is done to give memory back. */
const SETTLE = 8000

/** KB that each of so many takes. */
export async function measureIdle(
  server: ServerProcess,
  own: { cert: string; key: string },
  count: number,
): Promise<number> {
  const pids = [server.pid!]
  const wires: Wire[] = []
  const connect = (i: number): Promise<void> => peer(server, own, i).then(wire => void wires.push(wire))
  await each(WARM_UP, connect)
  for (const wire of wires.splice(0)) wire.write('</stream:stream>')
  await quiet(pids)
  await pause(SETTLE)
  const before = memoryOf(pids)
  await each(count, i => connect(WARM_UP + i))
  await quiet(pids)
  await pause(SETTLE)
  const after = memoryOf(pids)
  const gone = wires.filter(({ closed }) => closed).length
  if (gone > 0) throw new Error(`${gone} of ${count} streams did not stay`)
  for (const wire of wires) wire.cut()
  return (after - before) / count
}

async function peer({ ip, domain }: ServerProcess, own: { cert: string; key: string }, i: number): Promise<Wire> {
  const name = `p${i}.${PEERS}`
  const address = `127.200.${Math.floor(i / OF_ADDRESS / 200)}.${(Math.floor(i / OF_ADDRESS) % 200) + 1}`
  const wire = await Wire.connect(PORTS.servers, ip, address)
  const open = async (): Promise<void> => {
    wire.write(
      `<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='${NS_STREAM}' xmlns:db='jabber:server:dialback' from='${name}' to='${domain}' version='1.0'>`,
    )
    await wire.until(FEATURES)
  }
  await open()
  wire.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
  await wire.until(/<proceed[^>]*>/)
  await wire.encrypt(domain, ['xmpp-server'], { ...own, ecdhCurve: GROUP })
  await open()
  const as = Buffer.from(name).toString('base64')
  wire.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>${as}</auth>`)
  await wire.until(/<success[^>]*>/)
  await open()
  return wire
}
