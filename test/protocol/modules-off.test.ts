import { describe, test } from 'node:test'
import { says, serve } from '../support/talk.ts'
import { builtins } from '../support/testserver.ts'

const chat = (body: string) => `<message to='nina@localhost' type='chat' id='${body}'><body>${body}</body></message>`

/** No configuration breaks the promise: messages wait for who is away, and reach who is there. */
describe('whichever module is off', async () => {
  const names = [...(await builtins()).keys()]
  for (const off of [...names.map(name => [name]), names]) {
    test(off.length === 1 ? off[0]! : 'all', async t => {
      const server = await serve(t, { modules: Object.fromEntries(off.map(name => [name, false])) })
      await server.register('nina')
      const olga = await server.client('olga')
      olga.send(chat('waits'))
      await olga.ping().catch(() => {}) // where that is off, the answer is an error
      const nina = await server.client('nina')
      nina.send('<presence><priority>-1</priority></presence><presence/>')
      await nina.receive(says('waits'))
      olga.send(chat('at once'))
      await nina.receive(says('at once'))
    })
  }
})
