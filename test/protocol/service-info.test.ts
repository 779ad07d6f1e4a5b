/** What the host says of itself in forms: XEP-0232, 0455, 0504. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { child } from '../support/rawxml.ts'
import { serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

/** The fields of the host's form of this type; undefined where it has none. */
async function form(server: TestServer, formType: string): Promise<Record<string, string[]> | undefined> {
  const client = await server.client('alice')
  const answer = await client.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", 'localhost')
  for (const x of answer.children[0]!.children) {
    if (x.name !== 'x') continue
    const fields = Object.fromEntries(
      x.children.map(field => [field.attrs['var'], field.children.map(value => value.text)]),
    )
    assert.equal(x.attrs['type'], 'result')
    assert.equal(child(x, 'field')?.attrs['type'], 'hidden')
    if (fields['FORM_TYPE']?.[0] === formType) return fields
  }
  return undefined
}

test('the software is named, with its version and operating system as far as the operator likes', async t => {
  const info = 'urn:xmpp:dataforms:softwareinfo'
  const plain = await serve(t)
  const { software, software_version: version, os } = (await form(plain, info))!
  assert.deepEqual(software, ['hermod'])
  assert.match(version![0]!, /^\d+\.\d+/)
  assert.equal(os, undefined)
  const open = await serve(t, { modules: { mod_software_info: { show_os: true, show_version: false } } })
  const told = (await form(open, info))!
  assert.ok(told['os']?.[0] && told['os_version']?.[0])
  assert.equal(told['software_version'], undefined)
})

test('where to look when the server is down is told if the operator says so', async t => {
  const plain = await serve(t)
  assert.equal(await form(plain, 'urn:xmpp:sos:0'), undefined)
  const links = ['https://status.example.net/x.json', 'https://other.example.net/x.json']
  const server = await serve(t, { modules: { mod_outage_status: { external_status_addresses: links } } })
  assert.deepEqual((await form(server, 'urn:xmpp:sos:0'))!['external-status-addresses'], links)
})

test('of the data policy that is told which the operator has set', async t => {
  const none = await serve(t, { modules: { mod_data_policy: {} } })
  assert.equal(await form(none, 'urn:xmpp:data-policy:0'), undefined)
  const server = await serve(t, {
    modules: {
      mod_data_policy: {
        auth_data: 'hidden',
        data_retention: '90m',
        backup_frequency: '1d',
        backup_retention: 'infinity',
        data_export: true,
        encryption_at_rest: false,
        access_policy: ['admins', 'government'],
        tos: 'https://example.org/terms',
        extra_info: 'One\nTwo',
      },
    },
  })
  assert.deepEqual(await form(server, 'urn:xmpp:data-policy:0'), {
    FORM_TYPE: ['urn:xmpp:data-policy:0'],
    auth_data: ['hidden'],
    data_retention: ['2'],
    backup_frequency: ['24'],
    backup_retention: ['infinite'],
    data_export: ['true'],
    encryption_at_rest: ['false'],
    access_policy: ['admins', 'government'],
    tos: ['https://example.org/terms'],
    extra_info: ['One', 'Two'],
  })
})
