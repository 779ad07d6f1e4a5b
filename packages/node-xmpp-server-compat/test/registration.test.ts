/** In-band registration (XEP-0077): the application is asked before anybody has logged in. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { bot, open, serve, session, xml } from './support.ts'

const REGISTER = 'jabber:iq:register'

type Answer = (callback: (error?: unknown) => void) => unknown

/** A server whose application answers so, and what it was asked. */
async function asking(t: TestContext, answer: Answer) {
  const asked: string[] = []
  const serving = await serve(t, client => {
    client.on('register', (({ jid, username, password, client: own }: Record<string, unknown>, callback: never) => {
      assert.equal(own, client)
      asked.push(`${jid} ${username} ${password}`)
      return answer(callback)
    }) as never)
    client.on('registration-success', jid => asked.push(`success ${jid}`))
    client.on('registration-failure', jid => asked.push(`failure ${jid}`))
  })
  return { ...serving, asked }
}

const fields = '<username>romeo</username><password>secret</password>'
const set = (inner = fields, to = '') => `<iq type='set' id='r'${to}><query xmlns='${REGISTER}'>${inner}</query></iq>`

describe('registering', () => {
  for (const [said, answer] of [
    ['callback()', callback => callback()],
    ['callback(null)', callback => callback(null)],
    ['callback(true), as the old examples have it', callback => callback(true)],
    ['an async listener that returns', async () => 'done'],
  ] as [string, Answer][]) {
    test(`succeeds by ${said}, and the login follows`, async t => {
      const { port, asked } = await asking(t, answer)
      const wire = await open(port)
      wire.write(set())
      assert.match(await wire.until(/<iq [^>]*>/), /^<iq type='result' id='r'\/>$/)
      assert.deepEqual(asked, ['romeo@localhost romeo secret', 'success romeo@localhost'])
      assert.equal(await session(wire, 'romeo'), 'romeo@localhost/home')
    })
  }

  test('is refused as the application says', async t => {
    const refusal = { code: 503, type: 'cancel', condition: 'service-unavailable', text: 'Test error' }
    const { port, asked } = await asking(t, callback => callback(refusal))
    const wire = await open(port)
    wire.write(set())
    const stanzas = 'urn:ietf:params:xml:ns:xmpp-stanzas'
    assert.equal(
      await wire.until(/<\/iq>/),
      `<iq type='error' id='r'><error code='503' type='cancel'><service-unavailable xmlns='${stanzas}'/><text xmlns='${stanzas}'>Test error</text></error></iq>`,
    )
    assert.equal(asked[1], 'failure romeo@localhost')
  })

  test('is refused by an Error, whose words the client gets', async t => {
    const { port } = await asking(t, callback => callback(new Error('not today')))
    const wire = await open(port)
    wire.write(set())
    assert.match(await wire.until(/<\/iq>/), /<error type='cancel'><not-allowed [^>]*><text [^>]*>not today</)
  })

  test('says which fields there are', async t => {
    const { port } = await asking(t, callback => callback())
    const wire = await open(port)
    assert.match(wire.whole, /<register xmlns='http:\/\/jabber.org\/features\/iq-register'\/>/)
    wire.write(`<iq type='get' id='f'><query xmlns='${REGISTER}'/></iq>`)
    assert.match(await wire.until(/<\/iq>/), /<username\/><password\/>/)
  })

  test('without a name that can be one, or a password, nobody is asked', async t => {
    const { port, asked } = await asking(t, callback => callback())
    const wire = await open(port)
    for (const inner of [
      '',
      '<username>romeo</username>',
      '<password>x</password>',
      `<username/>${fields.slice(26)}`,
    ]) {
      wire.write(set(inner))
      assert.match(await wire.until(/<\/iq>/), /<not-acceptable /)
    }
    assert.deepEqual(asked, [])
  })

  test('is not there where nobody listens', async t => {
    const { port } = await serve(t)
    const wire = await open(port)
    assert.doesNotMatch(wire.whole, /iq-register/)
    wire.write(set())
    assert.match(await wire.until(/<\/iq>/), /<service-unavailable /)
  })

  test('with another service is a stanza like any other', async t => {
    const serving = await serve(t, client => {
      client.on('register', () => assert.fail('not ours'))
      client.on('stanza', ({ id, to }) => client.send(`<iq type='result' id='${id}' from='${to}'/>`))
    })
    const { xmpp } = await bot(t, serving)
    await xmpp.start()
    await xmpp.iqCaller.request(xml('iq', { type: 'get', to: 'gateway.localhost' }, xml('query', { xmlns: REGISTER })))
  })
})
