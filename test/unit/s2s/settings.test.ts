import assert from 'node:assert/strict'
import { test } from 'node:test'
import { s2sSettings } from '../../../src/settings.ts'
import { load } from '../config/support.ts'

test('whom to talk with, and what is asked of them, follows from the configuration, however a domain is written there', async () => {
  const { config } = await load(`
acl:
  trolls: {server: [Trolls.Example, xn--bcher-kva.example]}
access_rules:
  peers: [{deny: trolls}, {allow: all}]
s2s:
  access: peers
  domains:
    Bank.Example: {policy: require_valid_certificate}
    xn--mnchen-3ya.example: {policy: require_valid_certificate}
    other.example: {}
`)
  const { allows, policyFor } = s2sSettings(() => config)
  assert.deepEqual(['trolls.example', 'bücher.example', 'rooms.trolls.example'].map(allows), [false, false, true])
  assert.deepEqual(['bank.example', 'münchen.example', 'other.example', 'constructor'].map(policyFor), [
    'require_valid_certificate',
    'require_valid_certificate',
    'required',
    'required',
  ])
  const off = await load('s2s: {enabled: false}')
  assert.equal(s2sSettings(() => off.config).allows('a.example'), false)
})
