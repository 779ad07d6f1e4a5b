import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { faultyStore } from '../faultystore.ts'
import { PushService } from '../pushservice.ts'
import { serve } from '../talk.ts'
import type { Bounds } from './bound.ts'

/** How many of so many that wait the server remembers for a device, as it tells its service after a restart. */
async function rememberedOf(t: TestContext, count: number, length: number): Promise<number> {
  const { store } = faultyStore()
  const first = await serve(t, { store })
  const service = await PushService.start(first)
  const romeo = await first.client('romeo')
  const phone = await first.client('juliet', { resource: 'phone' })
  await phone.request('set', service.enable('n1'))
  await phone.close()
  for (let n = 0; n < count; n++) {
    romeo.send(`<message to='juliet@localhost' type='chat' id='${n}'><body>${'x'.repeat(length)}</body></message>`)
  }
  await romeo.ping()
  await first.stop()
  const second = await serve(t, { store })
  const after = await PushService.start(second)
  const again = await second.client('romeo')
  again.send("<message to='juliet@localhost' type='chat' id='one more'><body>one more</body></message>")
  return Number((await after.next()).summary['message-count']) - 1
}

export const BOUNDS: Bounds = {
  'devices with push': { number: 'the registration enabled longest ago gives way at the bound', bytes: 'each' },
  'push notifications on their way': {
    number: 'at the bound no more are begun, until one is answered, well or badly',
    bytes: 'each',
  },
  'messages counted for a device’s user': {
    number: 'at the bound the oldest is no longer counted; each was told all the same',
    bytes: 'each',
  },
  'waiting messages looked at for a device that is woken': {
    number: async t => assert.equal(await rememberedOf(t, 230, 10), 200),
    bytes: async t => assert.equal(await rememberedOf(t, 30, 100_000), 11),
  },
}
