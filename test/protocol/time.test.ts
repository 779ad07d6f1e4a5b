import assert from 'node:assert/strict'
import { test } from 'node:test'
import { child } from '../support/rawxml.ts'
import { serve } from '../support/talk.ts'

test('the server tells the time, in UTC and with its offset', async t => {
  const now = Date.UTC(2026, 5, 1, 12, 30, 1, 5)
  const server = await serve(t, { now: () => now })
  const alice = await server.client('alice')
  const time = (await alice.request('get', "<time xmlns='urn:xmpp:time'/>", 'localhost')).children[0]!
  assert.equal(child(time, 'utc')?.text, '2026-06-01T12:30:01.005Z')
  const tzo = child(time, 'tzo')!.text
  assert.match(tzo, /^(Z|[+-]\d\d:\d\d)$/)
  const [, sign, hours, minutes] = /^([+-])(\d\d):(\d\d)$/.exec(tzo) ?? [tzo, '+', '0', '0']
  const offset = (Number(hours) * 60 + Number(minutes)) * (sign === '-' ? -1 : 1)
  assert.equal(offset, 0 - new Date(now).getTimezoneOffset())
})
