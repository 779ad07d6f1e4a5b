import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Flusher, SocketTransport } from '../../../src/net/transport.ts'

/** Both ends of a connection, as a stream has it whose client may end its side alone. */
async function ends(t: TestContext): Promise<{ client: Socket; transport: SocketTransport }> {
  const server = createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const client = connect({ port: (server.address() as { port: number }).port, host: '127.0.0.1', allowHalfOpen: true })
  const [socket] = await accepted
  server.close()
  socket.on('error', () => {})
  client.on('error', () => {})
  t.after(() => {
    client.destroy()
    socket.destroy()
  })
  return { client, transport: new SocketTransport(socket, { ip: '127.0.0.1', port: 0 }, new Flusher()) }
}

test('who ends its side and does not read what was sent to it is not waited for without end', async t => {
  const { client, transport } = await ends(t)
  client.pause()
  transport.send(Buffer.alloc(64 * 1024 * 1024))
  transport.flush()
  client.end()
  await once(transport.socket.resume(), 'end')
  const { hasRead, hurry } = transport.linger(100, 'bye')
  hurry()
  assert.equal(await hasRead, false)
  assert.ok(transport.socket.destroyed)
})

test('who ends its side and reads has read', async t => {
  const { client, transport } = await ends(t)
  client.resume()
  transport.send('hello')
  client.end()
  await once(transport.socket.resume(), 'end')
  assert.equal(await transport.linger(100, 'bye').hasRead, true)
})
