import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog, setLogFormat, setLogLevel } from '../../../src/core/log.ts'

function logTo(format: 'json' | 'pretty') {
  const lines: string[] = []
  return { lines, log: createLog({ level: 'info', format, destination: { write: line => void lines.push(line) } }) }
}

test('JSON has ISO 8601 times and levels by name; people read local time with its zone', () => {
  const { lines, log } = logTo('json')
  log.info({ user: 'romeo' }, 'hello')
  const { time, ...line } = JSON.parse(lines[0]!) as Record<string, unknown>
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.deepEqual(line, { level: 'info', user: 'romeo', msg: 'hello' })
  setLogFormat(log, 'pretty')
  log.child({ module: 'mod_x' }).warn('mind')
  assert.match(lines[1]!, /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d{4}\] .*WARN.*mind.*mod_x/)
  const offset = -new Date().getTimezoneOffset()
  const zone = `${offset < 0 ? '-' : '+'}${String(Math.floor(Math.abs(offset) / 60)).padStart(2, '0')}${String(Math.abs(offset) % 60).padStart(2, '0')}`
  assert.ok(lines[1]!.includes(zone))
  setLogFormat(log, 'json')
  log.info('back')
  assert.equal((JSON.parse(lines[2]!) as { msg: string }).msg, 'back')
})

test('another level holds for all that came of the logger', () => {
  const { lines, log } = logTo('json')
  const module = log.child({ module: 'mod_x' })
  const below = module.child({ user: 'romeo' })
  below.debug('not yet')
  setLogLevel(log, 'debug')
  below.debug('now')
  log.child({}).debug('and this')
  setLogLevel(log, 'error')
  for (const each of [log, module, below]) each.warn('no more')
  assert.deepEqual(
    lines.map(line => (JSON.parse(line) as { msg: string }).msg),
    ['now', 'and this'],
  )
})

test('secrets in fields are not written', () => {
  const { lines, log } = logTo('json')
  log.info({ password: 'wonderland', a: { token: 'wonderland', secret: 'wonderland' } }, 'hello')
  assert.ok(!lines[0]!.includes('wonderland'))
})
