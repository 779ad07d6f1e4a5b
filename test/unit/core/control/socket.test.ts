import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, linkSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { arg, defineCommand } from '../../../../src/core/commands/command.ts'
import { Commands } from '../../../../src/core/commands/commands.ts'
import { type ControlAnswer, MAX_LINE } from '../../../../src/core/control/protocol.ts'
import { ControlSocket } from '../../../../src/core/control/socket.ts'
import { createLog } from '../../../../src/core/log.ts'
import { pluck } from '../../../support/pluck.ts'

const log = createLog({ level: 'silent', format: 'json' })

describe('the control socket', () => {
  let folder = ''
  let file = ''
  let control: ControlSocket | undefined
  /** What `wait` waits for. */
  let release = Promise.withResolvers<void>()
  let ran = 0
  const echo = (args: Record<string, unknown>): string => {
    ran++
    return String(args['word'])
  }
  const commands = new Commands(new Map())
  const add = (command: Parameters<typeof defineCommand>[0]) => commands.add('test', defineCommand(command))
  add({ name: 'fail', summary: 'For tests.', args: {}, run: () => Promise.reject(new Error('no luck')) })
  add({ name: 'echo', summary: 'For tests.', args: { word: arg.text('') }, run: echo })
  const repeat = { words: arg.list('Which'), loud: arg.bool('Whether in capitals') }
  commands.add(
    'test',
    defineCommand({
      name: 'repeat',
      summary: 'Repeats.',
      args: repeat,
      run: ({ words, loud }) => (loud ? words.join(' ').toUpperCase() : words.join(' ')),
    }),
  )
  add({
    name: 'wait',
    summary: 'For tests.',
    args: {},
    run: async (_args, io) => {
      io.progress('half')
      await release.promise
      return 'done'
    },
  })

  beforeEach(async () => {
    release = Promise.withResolvers<void>()
    folder = await mkdtemp(path.join(tmpdir(), 'hermod-ctl-'))
    file = path.join(folder, 'ctl.sock')
    control = await open()
  })
  afterEach(async () => {
    await control?.close()
    await rm(folder, { recursive: true, force: true })
  })

  const open = (at = file) => ControlSocket.open({ path: at, commands, log })

  class Client {
    readonly socket: Socket
    readonly #lines: AsyncIterator<string>
    constructor() {
      this.socket = connect(file)
      this.#lines = createInterface({ input: this.socket })[Symbol.asyncIterator]()
    }
    ask(command: string, ...args: string[]): void {
      this.socket.write(`${JSON.stringify({ command, args })}\n`)
    }
    /** The next line; undefined at the end. */
    async read(): Promise<ControlAnswer | undefined> {
      const { value, done } = await this.#lines.next()
      return done === true ? undefined : (JSON.parse(value) as ControlAnswer)
    }
    end(): void {
      this.socket.destroy()
    }
  }

  test('is for the user of the server only, whatever the umask', async () => {
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const before = process.umask(0)
    const other = path.join(folder, 'two.sock')
    try {
      const second = await open(other)
      assert.equal(statSync(other).mode & 0o777, 0o600)
      assert.equal(process.umask(), 0, 'the umask is as it was')
      await second.close()
    } finally {
      process.umask(before)
    }
    assert.ok(!existsSync(other), 'it is removed when it closes')
  })

  test('answers one request after the other, with progress between', async () => {
    const client = new Client()
    client.ask('wait')
    client.ask('echo', 'after')
    assert.deepEqual(await client.read(), { progress: 'half' })
    const other = new Client()
    other.ask('echo', 'another client does not wait')
    assert.deepEqual(await other.read(), { result: 'another client does not wait' })
    release.resolve()
    assert.deepEqual(await client.read(), { result: 'done' })
    assert.deepEqual(await client.read(), { result: 'after' })
    client.end()
    other.end()
  })

  test('answers a client that has ended its side already', async () => {
    const client = new Client()
    client.socket.end(`${JSON.stringify({ command: 'echo', args: ['x'] })}\n`)
    assert.deepEqual(await client.read(), { result: 'x' })
    assert.equal(await client.read(), undefined)
  })

  test('what is no request gets an error, and the next request its answer', async () => {
    const client = new Client()
    for (const line of [
      '',
      'x',
      'null',
      '7',
      '{}',
      '{"command":"echo"}',
      '{"command":"echo","args":[1]}',
      '{"command":"echo","args":null}',
    ]) {
      client.socket.write(`${line}\n`)
      const answer = await client.read()
      assert.ok(answer !== undefined && 'error' in answer && answer.error.code === 'usage', line)
    }
    client.ask('fail')
    assert.deepEqual(await client.read(), { error: { code: 'failed', message: 'no luck' } })
    client.ask('echo', 'still there')
    assert.deepEqual(await client.read(), { result: 'still there' })
    client.end()
  })

  test('arguments may come by name, as JSON', async () => {
    const client = new Client()
    client.socket.write(`${JSON.stringify({ command: 'repeat', args: { words: ['a', 'b'], loud: true } })}\n`)
    assert.deepEqual(await client.read(), { result: 'A B' })
    client.ask('repeat', 'a,b', 'no')
    assert.deepEqual(await client.read(), { result: 'a b' })
    client.end()
  })

  test('says what commands there are', async () => {
    const client = new Client()
    client.ask('commands')
    const answer = await client.read()
    assert.ok(answer !== undefined && 'commands' in answer)
    assert.deepEqual(pluck(answer.commands, 'name'), ['echo', 'fail', 'repeat', 'wait'])
    client.end()
  })

  test('a line without end is cut off at the limit', async () => {
    const client = new Client()
    client.socket.on('error', () => {}) // it is cut while it writes
    client.socket.write('x'.repeat(MAX_LINE + 1))
    const answer = await client.read()
    assert.ok(answer !== undefined && 'error' in answer)
    assert.match(answer.error.message, /at most/)
    assert.equal(await client.read(), undefined)
  })

  test('a client that never reads has no more answers made for it, and keeps nobody waiting', async () => {
    const answered = ran
    const client = new Client()
    client.socket.pause()
    const long = 'x'.repeat(500_000)
    for (let i = 0; i < 100; i++) client.ask('echo', long)
    const other = new Client()
    other.ask('echo', 'well')
    assert.deepEqual(await other.read(), { result: 'well' })
    let before = -1
    while (before !== ran) {
      before = ran
      for (let i = 0; i < 20; i++) {
        other.ask('echo', 'again')
        await other.read()
      }
      ran -= 20
    }
    assert.ok(ran - answered < 20, `${ran - answered} answers wait`)
    client.end()
    other.ask('echo', 'well')
    assert.deepEqual(await other.read(), { result: 'well' })
    other.end()
  })

  test('texts that are cut in the middle of a character, and bytes that are none', async () => {
    const client = new Client()
    const line = Buffer.from(`${JSON.stringify({ command: 'echo', args: ['é€😀'] })}\n`)
    for (const byte of line) {
      client.socket.write(Buffer.from([byte]))
      await new Promise(resolve => setImmediate(resolve))
    }
    assert.deepEqual(await client.read(), { result: 'é€😀' })
    client.socket.write(Buffer.from([0xff, 0xfe, 0x22, 0x0a]))
    const answer = await client.read()
    assert.ok(answer !== undefined && 'error' in answer && answer.error.code === 'usage')
    client.socket.write('{"command":"echo","args":["\\ud83d"]}\n')
    assert.ok('result' in (await client.read())!, 'half a character does no harm')
    client.end()
  })

  test('what lies in its place and is no socket is left alone', async () => {
    const taken = path.join(folder, 'precious')
    writeFileSync(taken, 'kept')
    await assert.rejects(open(taken), /precious is no socket: set ctl_socket/)
    assert.equal(readFileSync(taken, 'utf8'), 'kept')
  })

  test('a client that leaves in the middle harms nobody', async () => {
    const client = new Client()
    client.ask('wait')
    await client.read()
    client.end()
    await once(client.socket, 'close')
    release.resolve()
    const other = new Client()
    other.ask('echo', 'well')
    assert.deepEqual(await other.read(), { result: 'well' })
    other.end()
  })

  test('closing it does not wait for a client that stays', async () => {
    const client = new Client()
    client.ask('echo', 'x')
    await client.read()
    await control?.close()
    assert.equal(await client.read(), undefined)
    control = undefined
  })

  test('another server that answers there is left alone', async () => {
    await assert.rejects(open(), /another hermod is running with this data folder/)
    const client = new Client()
    client.ask('echo', 'mine')
    assert.deepEqual(await client.read(), { result: 'mine' })
    client.end()
  })

  test('what a killed server left is replaced', async () => {
    await control?.close()
    const dead = createServer().listen(file)
    await once(dead, 'listening')
    // Closing removes the file, so it is put back as a kill would leave it: there, and answered by nobody.
    linkSync(file, `${file}.kept`)
    dead.close()
    await once(dead, 'close')
    linkSync(`${file}.kept`, file)
    control = await open()
    const client = new Client()
    client.ask('echo', 'new')
    assert.deepEqual(await client.read(), { result: 'new' })
    client.end()
  })

  test('a path that is too long says what to do', async () => {
    await assert.rejects(open(path.join(folder, 'x'.repeat(100))), /too long for a socket .*ctl_socket/)
  })
})
