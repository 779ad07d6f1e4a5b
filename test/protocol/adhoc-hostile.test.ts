/** Ad-hoc commands and XEP-0133 in the hands of somebody who means ill, or only does what no client does. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { failed, NS_COMMANDS, offered, run, step } from '../support/commands.ts'
import { faultyStore } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition } from '../support/rawxml.ts'
import { closed, refused, serve } from '../support/talk.ts'
import { TestServer } from '../support/testserver.ts'
import { eventually, settled } from '../support/waiting.ts'

const node = (name: string) => `http://jabber.org/protocol/admin#${name}`
const ADMINS = { acl: { admin: { user: ['admin@localhost'] } } }
const INVITE = 'urn:xmpp:invite#invite'

const server = await TestServer.start({
  hosts: ['localhost', 'other.example'],
  config: ADMINS,
  modules: { mod_adhoc: { max_user_sessions: 2, max_sessions: 3 } },
})
Object.assign(server.server.config.perHost.get('other.example')!, {
  acl: { admin: { user: ['boss@other.example'], server: [], ip: [] } },
})
after(() => server.stop())

async function login(user: string, password: string): Promise<void> {
  const client = await server.connect()
  await client.login({ user, password })
  await client.close()
}

let asked = 0
/** What comes of a `<command/>` that is written by hand: the condition, or the status. */
async function say(client: RawClient, attrs: string, content = '', to = 'localhost'): Promise<string> {
  const id = `h${++asked}`
  client.send(`<iq type='set' id='${id}' to='${to}'><command xmlns='${NS_COMMANDS}' ${attrs}>${content}</command></iq>`)
  const answer = await client.receive(el => el.attrs['id'] === id)
  return answer.attrs['type'] === 'error' ? errorCondition(answer) : answer.children[0]!.attrs['status']!
}

test('who opens commands on device after device ends only what is the account’s own', async () => {
  const alice = await server.client('alice')
  const first = await step(alice, 'last-seen')
  for (let i = 0; i < 3; i++) {
    const eve = await server.client('eve', { resource: `d${i}` })
    for (let j = 0; j < 2; j++) await step(eve, 'last-seen')
    await eve.close()
  }
  const { sessionid } = first
  const done = await step(alice, 'last-seen', { sessionid, answers: { last_seen: first.values['last_seen']! } })
  assert.equal(done.status, 'completed')
})

test('nothing that stands in a command ends more than the command', async () => {
  const [alice, admin] = await server.clients('alice', 'admin')
  const long = 'x'.repeat(200_000)
  for (const attrs of [
    `node='${long}'`,
    `node='last-seen' sessionid='${long}'`,
    `node='last-seen' action='${long}'`,
    "node='last-seen' sessionid=''",
    "node='last-seen' sessionid='\u{1F600}\u{1F600}'",
    "node='' action=''",
    '',
    "node='__proto__'",
    "node='constructor' action='execute'",
  ]) {
    assert.match(await say(alice, attrs), /^(bad-request|item-not-found)$/)
  }
  const { sessionid } = await step(admin, node('add-user'))
  const field = (name: string, ...values: string[]) =>
    `<field var='${name}'>${values.map(value => `<value>${value}</value>`).join('')}</field>`
  const form = (...fields: string[]) => `<x xmlns='jabber:x:data' type='submit'>${fields.join('')}</x>`
  const odd: [string, string][] = [
    ['<x xmlns="urn:other" type="submit"/>', 'bad-request'],
    [form(), 'bad-request'],
    [form('<field/>', '<field var=""/>', '<value>x</value>'), 'bad-request'],
    [form(field('accountjid'), field('password', 'a'), field('password-verify', 'a')), 'bad-request'],
    [form('<field xmlns="urn:x" var="accountjid"><value>z@localhost</value></field>'), 'bad-request'],
    [form('<field var="accountjid"><value xmlns="urn:x">z@localhost</value></field>'), 'bad-request'],
    [form(...Array.from({ length: 1000 }, (_, i) => field(`f${i}`, 'x', 'y'))), 'bad-request'],
  ]
  for (const [content, answer] of odd) {
    assert.equal(
      await say(admin, `node='${node('add-user')}' sessionid='${sessionid}'`, content),
      answer,
      content.slice(0, 80),
    )
  }
  // Values that are no texts, values too many, fields that come twice: the first counts, and only texts.
  const twice = form(
    field('accountjid', 'zoe@localhost', 'admin@localhost'),
    field('accountjid', 'admin@localhost'),
    '<field var="password" type="jid-multi"><value>se<b>X</b>cret</value></field>',
    field('password-verify', 'secret', 'other'),
  )
  assert.equal(await say(admin, `node='${node('add-user')}' sessionid='${sessionid}'`, twice), 'completed')
  await login('zoe', 'secret')
  await alice.ping()
})

const GARBAGE = [
  '',
  ' ',
  '-1',
  '99999999999999999999',
  'é'.repeat(40_000),
  '<a',
  '<iq/>',
  '__proto__',
  '../../x',
  'a@b@c',
  '%00',
]
const NAMED = ['nobody@localhost', 'alice@localhost', 'localhost', 'a@elsewhere.example']
/** What ends the server, or what the test stands on. */
const LEFT_OUT = /api-commands\/(stop|stop_kindly|restart|reload|drain)|#(restart|shutdown|edit-admin|edit-whitelist)$/

test('whatever is written into the fields of any command is answered in words', async t => {
  const lines: string[] = []
  const logTo = { write: (line: string) => void lines.push(line) }
  const server = await serve(t, { config: ADMINS, log: true, logTo })
  const admin = await server.client('admin')
  await server.register('alice')
  const nodes = (await offered(admin)).filter(name => !LEFT_OUT.test(name))
  assert.ok(nodes.length > 80)
  for (const node of nodes) {
    for (let round = 0; round < GARBAGE.length; round++) {
      const first = await step(admin, node)
      if (first.status !== 'executing') break
      const fields = child(first.command, 'x')!.children.filter(
        el => el.name === 'field' && el.attrs['type'] !== 'hidden',
      )
      const answers = fields.map((field, i): [string, string] => {
        const options = field.children.filter(el => el.name === 'option')
        const named = /jid|account|user|host/.test(field.attrs['var']!) && round % 2 === 0
        const text = named ? NAMED[round % NAMED.length]! : GARBAGE[(round + i) % GARBAGE.length]!
        return [field.attrs['var']!, child(options[round % options.length], 'value')?.text ?? text]
      })
      const { sessionid } = first
      try {
        const { notes } = await step(admin, node, { sessionid, answers: Object.fromEntries(answers) })
        assert.ok(
          notes.every(note => note.length < 1100),
          node,
        )
      } catch (error) {
        assert.match(
          String(error),
          /bad-request|conflict|forbidden|not-allowed/,
          `${node} ${JSON.stringify(answers).slice(0, 300)}`,
        )
      }
    }
  }
  assert.deepEqual(
    lines.filter(line => /"level":"(error|fatal)"/.test(line)),
    [],
  )
})

test('texts as long as a stanza for names, passwords and addresses are refused in words, or taken', async () => {
  const admin = await server.client('admin')
  const long = 'é'.repeat(50_000)
  const add = (more: Record<string, string>) =>
    run(admin, node('add-user'), {
      accountjid: 'yves@localhost',
      password: 'secret',
      'password-verify': 'secret',
      ...more,
    })
  assert.ok((await failed(add({ accountjid: `${long}@localhost` }))).length < 200)
  assert.ok((await failed(add({ accountjid: `yves@${long}` }))).length < 200)
  assert.ok((await failed(add({ password: long, 'password-verify': long }))).length < 200)
  const named = await add({ given_name: long, surname: long.slice(0, 10) })
  assert.equal(named.status, 'completed')
})

test('addresses that are named again and again count once, and are bounded in number', async () => {
  const admin = await server.client('admin')
  await (await server.client('mary')).close()
  const mary = Array.from({ length: 3000 }, () => 'mary@localhost')
  const seen = await run(admin, node('get-user-lastlogin'), {
    accountjids: [...mary, 'mary@localhost/a', 'mary@localhost/b'],
  })
  assert.deepEqual(seen.values['accountjids'], ['mary@localhost'])
  const many = Array.from({ length: 1001 }, (_, i) => `u${i}@localhost`)
  assert.match(await failed(run(admin, node('get-user-lastlogin'), { accountjids: many })), /at most 1000/)
  assert.equal(
    (await run(admin, node('delete-user'), { accountjids: [...mary.slice(0, 3), 'mary@localhost/x'] })).notes[0],
    'info: Done',
  )
})

test('the rosters of many are an answer that a client can take', async () => {
  const admin = await server.client('admin')
  const users = ['r0', 'r1', 'r2', 'r3', 'r4', 'r5', 'r6', 'r7']
  for (const user of users) {
    const client = await server.client(user)
    for (let i = 0; i < 40; i++) {
      const name = 'n'.repeat(1000)
      const groups = `<group>${'g'.repeat(1000)}</group><group>${'h'.repeat(1000)}</group>`
      const item = `<item jid='${'c'.repeat(1000)}${i}@x.example' name='${name}'>${groups}</item>`
      await client.request('set', `<query xmlns='jabber:iq:roster'>${item}</query>`)
    }
    await client.close()
  }
  const { command, notes, values } = await run(admin, node('get-user-roster'), {
    accountjids: users.map(user => `${user}@localhost`),
  })
  const rosters = child(command, 'x', 'jabber:x:data')!.children.filter(el => el.name === 'query')
  assert.ok(rosters.length >= 1 && rosters.length < users.length, String(rosters.length))
  assert.equal(values['accountjids']!.length, rosters.length)
  assert.match(notes.join(), /^warn: /)
})

test('an administrator who takes the own account away is out, and the server goes on', async () => {
  const [admin, alice] = await server.clients('admin', 'alice')
  const { sessionid } = await step(admin, node('edit-admin'))
  await step(admin, node('edit-admin'), { sessionid, answers: { adminjids: ['admin@localhost', 'alice@localhost'] } })
  const going = await step(alice, node('delete-user'))
  const x = `<x xmlns='jabber:x:data' type='submit'><field var='accountjids'><value>alice@localhost</value></field></x>`
  alice.send(
    `<iq type='set' id='bye' to='localhost'><command xmlns='${NS_COMMANDS}' node='${node('delete-user')}' sessionid='${going.sessionid}'>${x}</command></iq>`,
  )
  await closed(alice)
  await admin.ping()
  const again = await server.client('alice')
  await refused('forbidden', step(again, node('delete-user')))
})

test('who loses the right in the middle of a command does not finish it', async () => {
  const [admin, bob] = await server.clients('admin', 'bob')
  const appoint = async (...adminjids: string[]) => {
    const { sessionid } = await step(admin, node('edit-admin'))
    await step(admin, node('edit-admin'), { sessionid, answers: { adminjids } })
  }
  await appoint('admin@localhost', 'bob@localhost')
  const { sessionid } = await step(bob, node('end-user-session'))
  await appoint('admin@localhost')
  const answers = { accountjids: ['admin@localhost'] }
  await refused('forbidden', step(bob, node('end-user-session'), { sessionid, answers }))
  await admin.ping()
})

test('the administrator of one host has no session, address or command of another', async () => {
  const boss = await server.client('boss', { host: 'other.example' })
  const admin = await server.client('admin')
  const mine = await step(boss, node('add-user'), { to: 'other.example' })
  const { sessionid } = mine
  const answers = { accountjid: 'mallory@localhost', password: 'secret', 'password-verify': 'secret' }
  await refused('forbidden', step(boss, node('add-user'), { to: 'localhost', sessionid, answers }))
  assert.equal(
    await failed(step(boss, node('add-user'), { to: 'other.example', sessionid, answers })),
    'localhost is not this host',
  )
  const theirs = await step(admin, node('add-user'))
  for (const to of ['other.example', 'boss@other.example']) {
    await refused('bad-request', step(boss, node('add-user'), { to, sessionid: theirs.sessionid, answers }))
  }
  await refused('bad-request', step(admin, node('delete-user'), { sessionid: theirs.sessionid, answers }))
})

test('one session that is answered twice at once is answered once', async () => {
  const admin = await server.client('admin')
  const { sessionid } = await step(admin, node('add-user'))
  const answers = { accountjid: 'once@localhost', password: 'secret', 'password-verify': 'secret' }
  const [one, two] = await Promise.allSettled([
    step(admin, node('add-user'), { sessionid, answers }),
    step(admin, node('add-user'), { sessionid, answers }),
  ])
  assert.equal(one.status, 'fulfilled')
  assert.match(String(two.status === 'rejected' && two.reason), /not-allowed/)
})

test('invitations that are asked for by many devices at once are no more than may wait', async t => {
  const { store, troubles } = faultyStore({ only: 'invites_by' })
  const server = await serve(t, { modules: { mod_invites: { max_invites: 3 } }, store })
  const devices = await Promise.all(Array.from({ length: 8 }, (_, i) => server.client('ivan', { resource: `i${i}` })))
  troubles.reads.close()
  const asking = Promise.all(devices.map(async device => (await run(device, INVITE)).notes))
  await eventually(() => troubles.reads.calls > 0)
  await settled(50)
  troubles.reads.open()
  const all = await asking
  assert.equal(all.filter(notes => notes.join().startsWith('error: no more than 3')).length, 5)
})
