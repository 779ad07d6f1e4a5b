import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Host } from '../../../src/core/host.ts'
import { Entity } from '../../../src/modules/privilege/entities.ts'
import { Watch } from '../../../src/modules/privilege/presence.ts'
import { xml } from '../../../src/xml/index.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import { Stanza } from '../../../src/xmpp/stanza.ts'

const grants = { roster: 'get', push: undefined, message: 'none', presence: 'roster', iq: {} } as const

test('so much is kept of contacts elsewhere, in number and in bytes', () => {
  const entity = new Entity('gate.localhost', grants)
  const told: Stanza[] = []
  const router = { destinations: new Map(), route: (stanza: Stanza) => void told.push(stanza) }
  const host = { router, sessions: () => [] } as unknown as Host
  const kept = (count: number, status: string): Stanza[] => {
    const watch = new Watch(host, () => [])
    const to = Jid.from('romeo@localhost')
    for (let i = 0; i < count; i++) {
      const el = xml('presence', {}, xml('status', {}, status))
      watch.contact(Stanza.make(el, Jid.from(`contact${i}@elsewhere.example/a`), to))
    }
    watch.welcome(entity)
    return told.splice(0)
  }
  const many = kept(20_001, '')
  assert.deepEqual([many.length, many[0]!.from.local, many.at(-1)!.from.local], [20_000, 'contact1', 'contact20000'])
  const large = kept(2000, 'x'.repeat(10_000))
  assert.equal(large.at(-1)!.from.local, 'contact1999')
  const size = large.reduce((sum, stanza) => sum + stanza.toString().length, 0)
  assert.ok(size > 15 * 1024 * 1024 && size < 17 * 1024 * 1024, `${size}`)
})
