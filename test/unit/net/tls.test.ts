import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectPlain, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { type ConnectionOptions, connect, TLSSocket } from 'node:tls'
import { TlsError } from '../../../src/net/certificates.ts'
import { selfSigned } from '../../../src/net/selfsigned.ts'
import { TlsContexts, type TlsLog, type TlsSettings } from '../../../src/net/tls.ts'

type Pair = { cert: string; key: string }

const DAY = 86_400_000
let folder: string
let a: Pair
let b: Pair

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hermod-tls-'))
  a = await selfSigned(['a.example', 'chat.example'])
  b = await selfSigned(['b.example'])
})
after(() => rmSync(folder, { recursive: true }))

/** What a test that fails half-way leaves open would keep the process alive. */
const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

class Log implements TlsLog {
  readonly lines: string[] = []
  readonly #waiting: (() => void)[] = []
  info(_: object, message: string): void {
    this.#add(`info ${message}`)
  }
  warn(_: object, message: string): void {
    this.#add(`warn ${message}`)
  }
  error(_: object, message: string): void {
    this.#add(`error ${message}`)
  }
  #add(line: string): void {
    this.lines.push(line)
    for (const wake of this.#waiting.splice(0)) wake()
  }
  next(): Promise<void> {
    return new Promise(resolve => this.#waiting.push(resolve))
  }
}

function load(settings: Partial<TlsSettings> & { certificates: TlsSettings['certificates'] }): Promise<TlsContexts> {
  return TlsContexts.load({ log: new Log(), ...settings })
}

async function reload(contexts: TlsContexts, certificates: TlsSettings['certificates']): Promise<void> {
  const use = await contexts.prepare(certificates, {})
  use()
}

function write(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

/** Listens as the server does; every connection is wrapped by `wrap`, and echoes. */
async function serve(wrap: (socket: Socket) => TLSSocket): Promise<{
  port: number
  secured: TLSSocket[]
  errors: Error[]
}> {
  const sockets = new Set<Socket>()
  const secured: TLSSocket[] = []
  const errors: Error[] = []
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    const secure = wrap(socket)
    secure.on('error', error => errors.push(error))
    secure.on('secure', () => secured.push(secure))
    secure.on('data', data => secure.write(data))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, secured, errors }
}

async function dial(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  closers.push(() => socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

/** The first name in the certificate that the client is shown. */
async function shown(port: number, servername?: string): Promise<string> {
  const socket = await dial(port, servername === undefined ? {} : { servername })
  const subject = socket.getPeerX509Certificate()?.subject ?? ''
  socket.destroy()
  return subject
}

async function echo(socket: TLSSocket, text: string): Promise<string> {
  socket.write(text)
  const [data] = await once(socket, 'data')
  return String(data)
}

test('the certificate follows the name asked for: exact, wildcard, else the first', async () => {
  const wild = await selfSigned(['wild.example'])
  const exact = await selfSigned(['x.wild.example'])
  const contexts = await load({ certificates: [a, wild, b, exact] })
  const server = await serve(socket => new TLSSocket(socket, contexts.options(true)))
  assert.equal(await shown(server.port, 'a.example'), 'CN=a.example')
  assert.equal(await shown(server.port, 'B.Example'), 'CN=b.example')
  assert.equal(await shown(server.port, 'chat.example'), 'CN=a.example')
  assert.equal(await shown(server.port, 'y.wild.example'), 'CN=wild.example')
  assert.equal(await shown(server.port, 'x.wild.example'), 'CN=x.wild.example')
  assert.equal(await shown(server.port, 'y.x.wild.example'), 'CN=x.wild.example')
  assert.equal(await shown(server.port, 'z.y.x.wild.example'), 'CN=a.example')
  assert.equal(await shown(server.port, 'unknown.example'), 'CN=a.example')
  assert.equal(await shown(server.port), 'CN=a.example')
  assert.equal(contexts.certificateFor('b.example').subject, 'CN=b.example')
  assert.equal(contexts.certificateFor('unknown.example').subject, 'CN=a.example')
  assert.equal(contexts.covers('b.example.'), true)
  assert.equal(contexts.covers('unknown.example'), false)
  assert.equal(contexts.covers('example'), false)
})

test('hosts in Unicode are found', async () => {
  const contexts = await load({ certificates: [a, await selfSigned(['bücher.example'])] })
  assert.equal(contexts.certificateFor('bücher.example').subject, 'CN=xn--bcher-kva.example')
  assert.equal(contexts.covers('xn--bcher-kva.example'), true)
})

test('after STARTTLS the stream decides where there is no SNI, and SNI where there is', async () => {
  const contexts = await load({ certificates: [a, b] })
  const server = await serve(socket => new TLSSocket(socket, contexts.options(false, 'b.example')))
  assert.equal(await shown(server.port), 'CN=b.example')
  assert.equal(await shown(server.port, 'chat.example'), 'CN=a.example')
  assert.equal(await shown(server.port, 'unknown.example'), 'CN=b.example')
})

test('direct TLS answers xmpp-client and refuses other protocols; STARTTLS ignores ALPN', async () => {
  const contexts = await load({ certificates: [a] })
  const direct = await serve(socket => new TLSSocket(socket, contexts.options(true)))
  for (const ALPNProtocols of [['xmpp-client'], ['http/1.1', 'xmpp-client']]) {
    const socket = await dial(direct.port, { ALPNProtocols })
    assert.equal(socket.alpnProtocol, 'xmpp-client')
    assert.equal(await echo(socket, 'hi'), 'hi')
    socket.destroy()
  }
  const without = await dial(direct.port)
  assert.equal(await echo(without, 'hi'), 'hi')
  without.destroy()
  for (const ALPNProtocols of [['http/1.1'], ['xmpp-server', 'h2']]) {
    await assert.rejects(dial(direct.port, { ALPNProtocols }), /no application protocol/)
  }
  assert.equal(direct.secured.length, 3)
  assert.equal(direct.errors.length, 2)

  const starttls = await serve(socket => new TLSSocket(socket, contexts.options(false, 'a.example')))
  const socket = await dial(starttls.port, { ALPNProtocols: ['http/1.1'] })
  assert.equal(socket.alpnProtocol, false)
  socket.destroy()
})

test('TLS below 1.2 is refused, and 1.2 too where 1.3 is the least', async () => {
  const old = { minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  const usual = await serve(await wrapper({ certificates: [a] }))
  assert.equal((await dial(usual.port, { maxVersion: 'TLSv1.2' })).getProtocol(), 'TLSv1.2')
  assert.equal((await dial(usual.port)).getProtocol(), 'TLSv1.3')
  await assert.rejects(dial(usual.port, { ...old, maxVersion: 'TLSv1.1' }), /protocol version|unsupported/)
  const strict = await serve(await wrapper({ certificates: [a], minVersion: 'TLSv1.3' }))
  await assert.rejects(dial(strict.port, { maxVersion: 'TLSv1.2' }), /protocol version/)
})

async function wrapper(settings: Parameters<typeof load>[0]): Promise<(socket: Socket) => TLSSocket> {
  const contexts = await load(settings)
  return socket => new TLSSocket(socket, contexts.options(true))
}

test('chosen ciphers are those of TLS 1.2 and leave TLS 1.3 on', async () => {
  const server = await serve(await wrapper({ certificates: [a], ciphers: 'ECDHE+AESGCM' }))
  const old = await dial(server.port, { maxVersion: 'TLSv1.2' })
  assert.match(old.getCipher().name, /^ECDHE-ECDSA-AES.*GCM/)
  await assert.rejects(dial(server.port, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE+CHACHA20' }), /handshake failure/)
  assert.equal((await dial(server.port)).getProtocol(), 'TLSv1.3')
  await assert.rejects(load({ certificates: [a], ciphers: 'NONSENSE' }), /^TlsError: tls_ciphers: .*'NONSENSE'/)
})

test('renegotiation is refused', async () => {
  const server = await serve(await wrapper({ certificates: [a] }))
  const socket = await dial(server.port, { maxVersion: 'TLSv1.2' })
  assert.equal(await echo(socket, 'before'), 'before')
  const error = await new Promise<Error | null>(resolve => {
    socket.on('error', resolve)
    socket.renegotiate({}, resolve)
  })
  assert.match(String(error?.message), /no renegotiation/)
})

test('sessions are resumed by ticket, whatever certificate they began with, also after a reload', async () => {
  const contexts = await load({ certificates: [a, b] })
  const server = await serve(socket => new TLSSocket(socket, contexts.options(true)))
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = connect({ port: server.port, host: '127.0.0.1', servername: 'b.example', ca: b.cert, maxVersion })
    closers.push(() => first.destroy())
    const [session] = await once(first, 'session')
    if (!first.authorized) await once(first, 'secureConnect')
    first.destroy()
    await reload(contexts, [a, b])
    const again = await dial(server.port, { servername: 'b.example', maxVersion, session: session as Buffer })
    assert.equal(again.isSessionReused(), true, maxVersion)
    again.destroy()
  }
})

test('both sides export the same keying material, and see the same certificate, for channel binding', async () => {
  const contexts = await load({ certificates: [a, b] })
  const server = await serve(socket => new TLSSocket(socket, contexts.options(false, 'a.example')))
  const client = await dial(server.port, { servername: 'b.example' })
  assert.equal(await echo(client, 'x'), 'x')
  const [ours] = server.secured
  // RFC 9266.
  const name = 'EXPORTER-Channel-Binding'
  assert.deepEqual(
    ours?.exportKeyingMaterial(32, name, Buffer.alloc(0)),
    client.exportKeyingMaterial(32, name, Buffer.alloc(0)),
  )
  const other = await dial(server.port, { servername: 'b.example' })
  assert.notDeepEqual(
    other.exportKeyingMaterial(32, name, Buffer.alloc(0)),
    client.exportKeyingMaterial(32, name, Buffer.alloc(0)),
  )
  await reload(contexts, [a])
  assert.equal(ours?.getX509Certificate()?.fingerprint256, client.getPeerX509Certificate()?.fingerprint256)
  assert.equal(ours?.getX509Certificate()?.subject, 'CN=b.example')
})

test('bytes read before the handshake are part of it once they are put back', async () => {
  const contexts = await load({ certificates: [a] })
  const server = createServer(socket => {
    closers.push(() => socket.destroy())
    socket.once('data', chunk => {
      socket.pause()
      socket.unshift(chunk.subarray(3))
      const secure = new TLSSocket(socket, contexts.options(true))
      secure.on('data', data => secure.write(data))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  const plain = connectPlain((server.address() as AddressInfo).port, '127.0.0.1')
  await once(plain, 'connect')
  plain.cork()
  plain.write('abc')
  const client = connect({ socket: plain, rejectUnauthorized: false })
  process.nextTick(() => plain.uncork())
  await once(client, 'secureConnect')
  assert.equal(await echo(client, 'hello'), 'hello')
})

test('what is no TLS ends in an error of that socket and harms nobody else', async () => {
  const server = await serve(await wrapper({ certificates: [a] }))
  const other = await dial(server.port)
  for (const junk of ['<stream:stream>'.repeat(100), '\x16\x03\x01\xff\xff'.repeat(5000), 'GET / HTTP/1.0\r\n\r\n']) {
    const plain = connectPlain(server.port, '127.0.0.1')
    plain.on('error', () => {})
    plain.write(junk, 'latin1')
    plain.resume()
    await once(plain, 'close')
  }
  assert.equal(server.errors.length, 3)
  assert.equal(await echo(other, 'still here'), 'still here')
})

test('a reload is for new connections; the old ones stay', async () => {
  const contexts = await load({ certificates: [a] })
  const server = await serve(socket => new TLSSocket(socket, contexts.options(true)))
  const old = await dial(server.port)
  await reload(contexts, [b])
  assert.equal(await shown(server.port), 'CN=b.example')
  assert.equal(await echo(old, 'still here'), 'still here')
  assert.equal(old.getPeerX509Certificate()?.subject, 'CN=a.example')
})

test('a reload with anything wrong changes nothing and names all of it', async () => {
  const contexts = await load({ certificates: [a] })
  const missing = join(folder, 'missing.pem')
  await assert.rejects(reload(contexts, [b, { cert: missing }, { cert: b.cert, key: a.key }]), error => {
    assert.ok(error instanceof TlsError)
    const [first, second, ...more] = error.message.split('\n')
    assert.match(first!, /missing\.pem: there is no such file\. Look at the path/)
    assert.match(second!, /private key is not that of the certificate.*b\.example, \*\.b\.example, serial [0-9A-F]+$/)
    assert.equal(more.length, 0)
    return true
  })
  await assert.rejects(reload(contexts, []), /TLS needs a certificate/)
  assert.deepEqual(
    contexts.expiry().map(({ names }) => names[0]),
    ['a.example'],
  )
})

test('every bad file has its own explanation', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const secret = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString()
  const old = privateKey.export({ type: 'sec1', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString()
  const good = write('good.pem', a.cert)
  const cases: [string, { cert: string; key?: string }, RegExp][] = [
    ['no file', { cert: good, key: join(folder, 'nowhere.pem') }, /nowhere\.pem: there is no such file/],
    ['a folder', { cert: folder, key: a.key }, /hermod-tls-.*: is a folder, and a file is wanted/],
    ['empty', { cert: write('empty.pem', ''), key: a.key }, /empty\.pem: holds no certificate/],
    ['a key as certificate', { cert: write('key.pem', a.key) }, /key\.pem: holds no certificate/],
    ['no key', { cert: good }, /good\.pem: holds no private key .*'key'/],
    ['DER', { cert: writeDer('der.crt', a.cert), key: a.key }, /der\.crt: is DER, and PEM is wanted\. Convert it/],
    [
      'broken',
      { cert: write('broken.pem', a.cert.replace(/\n.{30}/, '\n')), key: a.key },
      /certificate 1 in it is broken/,
    ],
    [
      'key broken',
      { cert: good, key: write('k.pem', a.key.replace(/\n.{30}/, '\n')) },
      /k\.pem: the private key is broken/,
    ],
    ['passphrase', { cert: good, key: write('s.pem', secret) }, /s\.pem: .*passphrase.*openssl pkey/],
    ['passphrase, old style', { cert: good, key: write('o.pem', old) }, /o\.pem: .*passphrase.*openssl pkey/],
    ['other key', { cert: good, key: b.key }, /this private key is not that of the certificate in .*good\.pem/],
    [
      'wrong order',
      { cert: write('order.pem', b.cert + a.cert), key: a.key },
      /belongs to certificate 2.*Put that one first/,
    ],
  ]
  for (const [name, source, message] of cases) {
    await assert.rejects(
      load({ certificates: [source] }),
      error => error instanceof TlsError && message.test(error.message),
      name,
    )
  }
})

function writeDer(name: string, pem: string): string {
  const path = join(folder, name)
  writeFileSync(path, new X509Certificate(pem).raw)
  return path
}

test('a file without the right to read it says so', {
  skip: process.getuid?.() === 0 && 'root reads everything',
}, async () => {
  const path = write('locked.pem', a.cert)
  chmodSync(path, 0)
  await assert.rejects(load({ certificates: [{ cert: path, key: a.key }] }), /locked\.pem: may not be read by the user/)
})

test('certificate and key may be one file, and one that is listed twice is read once', async () => {
  const path = write('both.pem', `${a.key}\n${a.cert}`)
  const contexts = await load({ certificates: [{ cert: path }, { cert: path }] })
  assert.deepEqual(contexts.expiry(), [
    {
      names: ['a.example', '*.a.example', 'chat.example', '*.chat.example'],
      file: path,
      notAfter: new X509Certificate(a.cert).validToDate,
    },
  ])
})

test('expired, soon to expire, not yet valid: warnings; of two for a name the valid one serves', async () => {
  const now = Date.now()
  const log = new Log()
  const expired = await selfSigned(['a.example'], now - 3652 * DAY - 60_000)
  const soon = await selfSigned(['soon.example'], now - 3648.5 * DAY)
  const later = await selfSigned(['later.example'], now + 3 * DAY)
  const contexts = await load({ certificates: [expired, a, soon, later], log })
  assert.deepEqual(log.lines, [
    'warn certificate has expired: clients will refuse it. Renew it',
    'warn certificate expires in 4 days. Renew it',
    'warn certificate is not valid yet. Look whether the clock of this machine is right',
  ])
  assert.equal(contexts.certificateFor('a.example').fingerprint256, new X509Certificate(a.cert).fingerprint256)
  assert.equal(contexts.certificateFor('*.unknown').subject, 'CN=a.example')
})

/** Of an authority made for this, for the common name old.example and no other name; valid until 2125. */
const LEAF = `-----BEGIN CERTIFICATE-----
MIIBHjCBxgIUPmyZI+W0i1S0R6e+7XcLyZZx5VkwCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCY2EwIBcNMjYxMTI0MDU1MDM4WhgPMjEyNTA2MTgwNTUwMzhaMBYxFDAS
BgNVBAMMC29sZC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEVK36
z8L5qa1SY7LWSBNZ0/ze5iUN9zxrH3c9GOu96hkYXFKjGalO/FT3YR04o12z6Iaz
mJBgn1PKL7Jg4CRAszAKBggqhkjOPQQDAgNHADBEAiB+fo8ZUakaHH8MYC8LcW/N
mN57YuQQqGt+FanRJfFLUQIgDKsgQHs2ElSpauxGVxmgPhUi5smHz2J9xZ9JEiFi
BJk=
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/Yz3mLF8QXGksDaP
NKBlYY6Gb4D4vRVJuXAlMvy37iehRANCAARUrfrPwvmprVJjstZIE1nT/N7mJQ33
PGsfdz0Y673qGRhcUqMZqU78VPdhHTijXbPohrOYkGCfU8ovsmDgJECz
-----END PRIVATE KEY-----
`

test('a certificate without names or without its chain: warnings', async () => {
  const log = new Log()
  const contexts = await load({ certificates: [{ cert: LEAF }, a], log })
  assert.equal(log.lines.length, 2)
  assert.match(log.lines[0]!, /^warn certificate has no DNS name/)
  assert.match(log.lines[1]!, /^warn certificate comes without the chain of its issuer.*fullchain\.pem/)
  assert.equal(contexts.covers('old.example'), false)
  assert.equal(contexts.certificateFor('old.example').subject, 'CN=old.example')
  assert.equal(contexts.expiry()[0]?.file, undefined)
})

test('changed files are noticed, through links too, as certbot replaces them', async () => {
  const live = join(folder, 'live')
  const archive = join(folder, 'archive')
  mkdirSync(live)
  mkdirSync(archive)
  const link = (target: string, name: string): void => {
    symlinkSync(join(archive, target), join(live, `${name}.new`))
    renameSync(join(live, `${name}.new`), join(live, name))
  }
  writeFileSync(join(archive, 'cert1.pem'), a.cert)
  writeFileSync(join(archive, 'key1.pem'), a.key)
  link('cert1.pem', 'fullchain.pem')
  link('key1.pem', 'privkey.pem')
  const log = new Log()
  const contexts = await load({
    certificates: [{ cert: join(live, 'fullchain.pem'), key: join(live, 'privkey.pem') }, b],
    log,
  })
  assert.equal(await contexts.check(), 0)

  // Half-way through a renewal certificate and key do not belong together; that is said once, and the old ones go on.
  const renewed = await selfSigned(['new.example'])
  writeFileSync(join(archive, 'cert2.pem'), renewed.cert)
  writeFileSync(join(archive, 'key2.pem'), renewed.key)
  link('cert2.pem', 'fullchain.pem')
  assert.equal(await contexts.check(), 0)
  assert.equal(await contexts.check(), 0)
  assert.equal(contexts.certificateFor('a.example').subject, 'CN=a.example')
  assert.equal(log.lines.length, 1)
  assert.match(
    log.lines[0]!,
    /^error .*privkey\.pem: this private key is not that.*; the certificate read before stays in use$/,
  )

  link('key2.pem', 'privkey.pem')
  assert.equal(await contexts.check(), 1)
  assert.equal(contexts.certificateFor('new.example').subject, 'CN=new.example')
  assert.equal(contexts.covers('a.example'), false)
  assert.equal(contexts.covers('b.example'), true)
  assert.equal(log.lines.at(-1), 'info certificate read again: its file has changed')
  assert.equal(await contexts.check(), 0)

  unlinkSync(join(live, 'privkey.pem'))
  assert.equal(await contexts.check(), 0)
  assert.match(log.lines.at(-1)!, /privkey\.pem: there is no such file/)
  assert.equal(contexts.covers('new.example'), true)
})

test('one bad file does not keep the others from being renewed', async () => {
  const first = write('first.pem', a.cert + a.key)
  const second = write('second.pem', b.cert + b.key)
  const contexts = await load({ certificates: [{ cert: first }, { cert: second }] })
  const renewed = await selfSigned(['c.example'])
  writeFileSync(first, 'nothing of use')
  writeFileSync(second, `${renewed.cert}${renewed.key}\n`)
  assert.equal(await contexts.check(), 1)
  assert.equal(contexts.covers('a.example'), true)
  assert.equal(contexts.covers('c.example'), true)
})

test('a file rewritten in place is noticed by the watch', async () => {
  const path = write('watched.pem', a.cert + a.key)
  const log = new Log()
  const contexts = await load({ certificates: [{ cert: path }], log })
  const stop = contexts.watch(5)
  closers.push(stop)
  const said = log.next()
  renameSync(write('watched.new', b.cert + b.key), path)
  await said
  assert.equal(log.lines[0], 'info certificate read again: its file has changed')
  assert.equal(contexts.covers('b.example'), true)
})

test('the keys of tickets live a day', async () => {
  let now = Date.now()
  const contexts = await load({ certificates: [a, b], now: () => now })
  const server = await serve(socket => new TLSSocket(socket, contexts.options(true)))
  const first = connect({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false })
  closers.push(() => first.destroy())
  const [session] = await once(first, 'session')
  const resumed = async (): Promise<boolean> => {
    const socket = await dial(server.port, { session: session as Buffer })
    const reused = socket.isSessionReused()
    socket.destroy()
    return reused
  }
  now += DAY - 1
  assert.equal(await contexts.check(), 0)
  assert.equal(await resumed(), true)
  now += 1
  assert.equal(await contexts.check(), 0)
  assert.equal(await resumed(), false)
  assert.equal(contexts.covers('b.example'), true)
})
