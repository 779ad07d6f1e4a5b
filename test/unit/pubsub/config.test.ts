import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  configForm,
  itemsKept,
  lifetime,
  pepDefaults,
  readBoolean,
  readConfig,
  readPublishOptions,
  serviceDefaults,
  unmet,
  wellKnown,
} from '../../../src/pubsub/config.ts'
import { differences } from '../../../src/pubsub/node.ts'
import type { NodeConfig } from '../../../src/pubsub/types.ts'
import { type Element, NS, parseElement } from '../../../src/xml/index.ts'
import { formValues } from '../../../src/xmpp/forms.ts'

const LIMITS = { items: 100, payload: 1000, expire: 3600 }

function form(fields: Record<string, string | string[]>, type: string = NS.PUBSUB_NODE_CONFIG): Element {
  const list = Object.entries({ FORM_TYPE: type, ...fields }).map(([name, values]) => {
    return `<field var='${name}'>${[values]
      .flat()
      .map(v => `<value>${v}</value>`)
      .join('')}</field>`
  })
  return parseElement(`<x xmlns='jabber:x:data' type='submit'>${list.join('')}</x>`)
}

test('a form is read field by field; what it leaves out is left', () => {
  const given = {
    'pubsub#title': 'T',
    'pubsub#max_items': 'max',
    'pubsub#item_expire': '60',
    'pubsub#persist_items': 'false',
    'pubsub#roster_groups_allowed': ['Friends', 'Family'],
    'pubsub#node_type': 'leaf',
    'pubsub#presence_based_delivery': '1',
    muc: 'x',
  }
  assert.deepEqual(readConfig(form(given), LIMITS), {
    title: 'T',
    max_items: 'max',
    item_expire: 60,
    persist_items: false,
    roster_groups_allowed: ['Friends', 'Family'],
  })
  assert.deepEqual(readConfig(undefined, LIMITS), {})
  const cancelled = parseElement("<x xmlns='jabber:x:data' type='cancel'/>")
  assert.equal(readConfig(cancelled, LIMITS), undefined)
})

test('values that cannot be are refused, at the bounds', () => {
  const bad: Record<string, string[]> = {
    'pubsub#max_items': ['0', '101', '-1', '1.5', 'many', ''],
    'pubsub#item_expire': ['0', '3601'],
    'pubsub#max_payload_size': ['0', '1001', 'max'],
    'pubsub#access_model': ['public', ''],
    'pubsub#persist_items': ['yes', 'True', ''],
    'pubsub#title': ['x'.repeat(1025)],
    'pubsub#unknown': ['1'],
    'pubsub#__proto__': ['1'],
    'pubsub#node_type': ['collection'],
  }
  for (const [name, values] of Object.entries(bad)) {
    for (const value of values) {
      assert.throws(() => readConfig(form({ [name]: value }), LIMITS), { name: 'StanzaError' }, `${name} ${value}`)
    }
  }
  const good = { 'pubsub#max_items': '100', 'pubsub#item_expire': '3600', 'pubsub#max_payload_size': '1000' }
  assert.deepEqual(readConfig(form(good), LIMITS), { max_items: 100, item_expire: 3600, max_payload_size: 1000 })
  assert.throws(() => readConfig(form({ 'pubsub#title': 'x' }, 'urn:other'), LIMITS), /FORM_TYPE/)
})

test('a form that was filled in with what it says changes nothing', () => {
  const config: NodeConfig = { ...serviceDefaults(LIMITS), roster_groups_allowed: ['a', 'b'], max_items: 7 }
  const filled = configForm('form', config)
  filled.attrs['type'] = 'submit'
  assert.deepEqual({ ...config, ...readConfig(filled, LIMITS) }, config)
  assert.ok(formValues(configForm('result', config)).has('pubsub#access_model'))
})

test('publish-options are met by what means the same', () => {
  const options = (fields: Record<string, string | string[]>) =>
    readPublishOptions(form(fields, NS.PUBSUB_PUBLISH_OPTIONS), LIMITS)
  const config: NodeConfig = { ...pepDefaults(LIMITS), max_items: 'max', roster_groups_allowed: ['a', 'b'] }
  const check = (fields: Record<string, string | string[]>) => unmet(config, options(fields), LIMITS)
  assert.equal(check({ 'pubsub#max_items': '100', 'pubsub#item_expire': '3600' }), undefined)
  assert.equal(check({ 'pubsub#roster_groups_allowed': ['b', 'a'] }), undefined)
  assert.equal(check({ 'pubsub#persist_items': '1', 'pubsub#access_model': 'open' }), 'access_model')
  assert.equal(check({ 'pubsub#max_items': '99' }), 'max_items')
  assert.throws(() => options({ 'pubsub#colour': 'blue' }), { condition: 'conflict' })
  assert.throws(() => options({ colour: 'blue' }), { condition: 'conflict' })
})

test('only differences from the defaults are stored', () => {
  const defaults = pepDefaults(LIMITS)
  assert.deepEqual(differences({ ...defaults, access_model: 'open', max_items: 1 }, defaults), { access_model: 'open' })
})

test('max means the limits of the server', () => {
  const config = pepDefaults(LIMITS)
  assert.equal(itemsKept({ ...config, max_items: 'max' }, LIMITS), 100)
  assert.equal(itemsKept({ ...config, max_items: 500 }, LIMITS), 100) // the limit was lowered since
  assert.equal(lifetime({ ...config, item_expire: 'max' }, { ...LIMITS, expire: Infinity }), Infinity)
  assert.equal(lifetime({ ...config, item_expire: 5 }, LIMITS), 5000)
})

test('nodes whose specification wants it are private', () => {
  assert.equal(wellKnown('urn:xmpp:bookmarks:1').access_model, 'whitelist')
  assert.deepEqual(wellKnown('constructor'), {})
})

test('booleans are those of XML Schema', () => {
  assert.deepEqual(['1', 'true', '0', 'false', 'yes', undefined].map(readBoolean), [
    true,
    true,
    false,
    false,
    undefined,
    undefined,
  ])
})
