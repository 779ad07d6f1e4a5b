/**
 * What a login costs the server, over direct TLS: `node bench/login.ts [LOGINS]`. SASL and resource binding as RFC 6120 has
 * them, against SASL2 with FAST and Bind 2 in one flight; and the TLS handshake alone, which both need. The server is a process
 * of its own, its CPU is read from /proc (Linux).
 */
import { createHmac } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { RawClient } from '../test/support/rawclient.ts'
import { agent, bind, byPassword, FAST, requestToken, SASL2, tokenOf } from '../test/support/sasl2client.ts'
import { hermodProcess } from '../test/support/serverprocess.ts'

const LOGINS = Number(process.argv[2] ?? 500)
const AT_ONCE = 10
const TICK = 10 // ms a tick of /proc/PID/stat
const ENABLE = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"

const folder = await mkdtemp(path.join(tmpdir(), 'hermod-login-'))
const server = await hermodProcess({ folder, env: { HERMOD_RESUME_TIMEOUT: '1s' } })
await server.start()
const pid = (await readFile(path.join(folder, 'data/hermod.pid'), 'utf8')).trim()
const { domain } = server
const target = { port: server.tlsPort, domain, tls: 'direct' as const }
await RawClient.register({ port: server.port, domain }, 'juliet', 'secret')

async function cpu(): Promise<number> {
  const stat = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]!.split(' ')
  return (Number(stat[11]) + Number(stat[12])) * TICK
}

function handshake(): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const options = {
      port: server.tlsPort,
      servername: domain,
      rejectUnauthorized: false,
      ALPNProtocols: ['xmpp-client'],
    }
    const socket = connect(options, () => resolve(socket))
    socket.once('error', reject)
  })
}

function heard(socket: TLSSocket, wanted: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    socket.on('data', chunk => {
      text += chunk
      if (text.includes(wanted)) resolve(text)
      else if (text.includes('<failure')) reject(new Error(text))
    })
    socket.on('error', reject)
  })
}

async function sasl1(): Promise<void> {
  const client = await RawClient.connect(target)
  await client.login({ user: 'juliet', password: 'secret' })
  await client.bind()
  await client.enable()
  client.cut('rst')
}

const first = await RawClient.connect(target)
const token = tokenOf(await byPassword(first, 'juliet', `${agent()}${requestToken()}`))!
first.cut()
const mac = createHmac('sha256', token).update('Initiator').digest()
const response = Buffer.concat([Buffer.from('juliet\0'), mac]).toString('base64')
const flight = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='${domain}' from='juliet@${domain}' version='1.0'><authenticate xmlns='${SASL2}' mechanism='HT-SHA-256-NONE'><initial-response>${response}</initial-response>${agent()}<fast xmlns='${FAST}'/>${bind(ENABLE)}</authenticate>`

async function fast(): Promise<void> {
  const socket = await handshake()
  const answered = heard(socket, '</success>')
  socket.write(flight)
  await answered
  socket.destroy()
}

async function tls(): Promise<void> {
  ;(await handshake()).destroy()
}

async function measure(run: () => Promise<void>): Promise<{ cpu: number; wall: number }> {
  const [from, start] = [await cpu(), performance.now()]
  let left = LOGINS
  const worker = async (): Promise<void> => {
    while (left-- > 0) await run()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return { cpu: ((await cpu()) - from) / LOGINS, wall: (performance.now() - start) / LOGINS }
}

const best: Record<string, number> = {}
const kinds = { 'TLS handshake alone': tls, 'SASL, bind, SM (RFC 6120)': sasl1, 'SASL2, FAST, Bind 2, SM': fast }
for (let round = 0; round < 4; round++) {
  for (const [name, run] of Object.entries(kinds)) {
    const { cpu: cost } = await measure(run)
    if (round > 0) best[name] = Math.min(best[name] ?? Number.POSITIVE_INFINITY, cost)
  }
}
for (const [name, cost] of Object.entries(best)) console.log(`${name.padEnd(28)} ${cost.toFixed(2)} ms of CPU`)
const [handshakes, one, two] = Object.values(best)
console.log(
  `SASL2 with FAST / SASL: ${(two! / one!).toFixed(2)}; after TLS: ${((two! - handshakes!) / (one! - handshakes!)).toFixed(2)}`,
)
await server.stop()
await rm(folder, { recursive: true })
