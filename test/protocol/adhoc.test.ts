import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { formStage } from '../../src/core/adhoc.ts'
import { arg, CommandError } from '../../src/core/commands/command.ts'
import { failed, NS_COMMANDS, offered, reconfigure, run, step } from '../support/commands.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { refused, serve } from '../support/talk.ts'
import { TestServer, testModule } from '../support/testserver.ts'

/** Orders a drink in two stages; asks every administrator what it is told to. */
const mod_bar = testModule('mod_bar', ctx => {
  const form = 'urn:bar'
  ctx.adhoc({
    node: 'order',
    name: 'Order a drink',
    allowed: from => from.domain === ctx.host.name,
    execute: () => {
      const drinks = [{ value: 'tea' }, { value: 'milk' }]
      const what = { var: 'what', type: 'list-single', values: [], required: true, options: drinks }
      return formStage(
        form,
        { title: 'A drink' },
        [what],
        first =>
          formStage(form, {}, [{ var: 'cups', values: ['1'] }], second => {
            const text = `${second.get('cups')?.[0]} ${first.get('what')?.[0]}`
            return { notes: [{ type: 'info', text }] }
          }),
        { last: false },
      )
    },
  })
  ctx.command({
    name: 'bar_bill',
    summary: 'Shows what an account drank.',
    args: { account: arg.account('The account'), days: arg.int('For how long', { optional: true }) },
    returns: { drink: 'jid', cups: 'int?' },
    run: ({ account, days = 1 }) => {
      if (days > 100) throw new CommandError('conflict', 'nobody can drink that much')
      return [
        { drink: account.jid, cups: days },
        { drink: 'water', cups: null },
      ]
    },
  })
  ctx.command({
    name: 'bar_stock',
    summary: 'Lists bottles.',
    args: { bottles: arg.int('How many'), label: arg.int('Letters on each') },
    returns: { label: 'text' },
    run: ({ bottles, label }) => Array.from({ length: bottles }, () => ({ label: 'x'.repeat(label) })),
  })
  ctx.command({
    name: 'bar_song',
    summary: 'Sings.',
    args: {},
    run: () => 'la'.repeat(1_000_000),
  })
})

const ADMINS = { acl: { admin: { user: ['admin@localhost'] } } }

let server: TestServer
let now = Date.UTC(2026, 0, 1)

before(async () => {
  server = await TestServer.start({
    config: ADMINS,
    extra: [mod_bar],
    now: () => now,
    modules: { mod_adhoc: { max_user_sessions: 2, session_timeout: '10m' } },
  })
})
after(() => server.stop())

/** The error's condition and the application's own. */
async function error(client: RawClient, node: string, attrs: string, content = ''): Promise<string[]> {
  const id = `e${Math.round(performance.now() * 1000)}`
  const command = `<command xmlns='${NS_COMMANDS}' node='${node}' ${attrs}>${content}</command>`
  client.send(`<iq type='set' id='${id}' to='localhost'>${command}</iq>`)
  const answer = await client.receive(el => el.attrs['id'] === id)
  const application = child(answer, 'error')?.children.find(el => el.ns === NS_COMMANDS)
  return [errorCondition(answer), application?.name ?? '']
}

const actions = (command: XmlElement) => {
  const el = child(command, 'actions')
  return [el?.attrs['execute'], ...(el?.children.map(action => action.name) ?? [])]
}

test('a command is found, run stage by stage, and completes', async () => {
  const alice = await server.client('alice')
  assert.ok((await offered(alice)).includes('order'))
  const info = "<query xmlns='http://jabber.org/protocol/disco#info' node='order'/>"
  const [identity, ...features] = (await alice.request('get', info, 'localhost')).children[0]!.children
  assert.deepEqual(identity!.attrs, { category: 'automation', type: 'command-node', name: 'Order a drink' })
  assert.deepEqual(
    features.map(f => f.attrs['var']),
    [NS_COMMANDS, 'jabber:x:data'],
  )

  const one = await step(alice, 'order', { action: 'execute' })
  assert.equal(one.status, 'executing')
  assert.deepEqual(actions(one.command), ['next', 'next'])
  const { sessionid } = one
  const two = await step(alice, 'order', { sessionid, action: 'next', answers: { what: 'tea' } })
  assert.equal(two.sessionid, sessionid)
  assert.deepEqual(actions(two.command), ['complete', 'prev', 'complete'])
  assert.deepEqual(two.values['cups'], ['1'])

  const back = await step(alice, 'order', { sessionid, action: 'prev' })
  assert.ok('what' in back.values)
  await step(alice, 'order', { sessionid, answers: { what: 'milk' } }) // execute is the default, and means next
  const done = await step(alice, 'order', { sessionid, action: 'complete', answers: { cups: '3' } })
  assert.equal(done.status, 'completed')
  assert.deepEqual(done.notes, ['info: 3 milk'])
  assert.deepEqual(await error(alice, 'order', `sessionid='${sessionid}'`), ['not-allowed', 'session-expired'])
})

test('a command can be cancelled at any stage', async () => {
  const alice = await server.client('alice')
  const { sessionid } = await step(alice, 'order')
  const end = await step(alice, 'order', { sessionid, action: 'cancel' })
  assert.equal(end.status, 'canceled')
  assert.deepEqual(await error(alice, 'order', `sessionid='${sessionid}'`), ['not-allowed', 'session-expired'])
})

test('what makes no sense is refused, and the form can be sent again', async () => {
  const alice = await server.client('alice')
  assert.deepEqual(await error(alice, 'nothing', ''), ['item-not-found', ''])
  assert.deepEqual(await error(alice, 'order', "action='drink'"), ['bad-request', 'malformed-action'])
  assert.deepEqual(await error(alice, 'order', "action='next'"), ['bad-request', 'bad-action'])
  assert.deepEqual(await error(alice, 'order', "sessionid='1'"), ['bad-request', 'bad-sessionid'])
  const { sessionid } = await step(alice, 'order')
  const same = `sessionid='${sessionid}'`
  const form = (value: string) =>
    `<x xmlns='jabber:x:data' type='submit'><field var='what'><value>${value}</value></field></x>`
  assert.deepEqual(await error(alice, 'order', same), ['bad-request', 'bad-payload'])
  assert.deepEqual(await error(alice, 'order', same, form('')), ['bad-request', 'bad-payload'])
  assert.deepEqual(await error(alice, 'order', same, form('beer')), ['bad-request', 'bad-payload'])
  assert.deepEqual(await error(alice, 'order', `${same} action='prev'`), ['bad-request', 'bad-action'])
  assert.deepEqual(await error(alice, 'order', `${same} action='complete'`, form('tea')), ['bad-request', 'bad-action'])
  assert.equal((await step(alice, 'order', { sessionid, answers: { what: 'tea' } })).status, 'executing')
})

test('what cannot be done completes with a note that says why; conflicts and prohibitions are errors', async () => {
  const admin = await server.client('admin')
  const node = 'api-commands/bar_bill'
  const bill = (account: string, days = '1') => run(admin, node, { account, days })
  assert.match(await failed(bill('alice@elsewhere.example')), /elsewhere\.example is not served here/)
  assert.match(await failed(bill('alice@localhost', 'many')), /days: a whole number, not "many"/)
  assert.match(await failed(bill('alice@localhost', 'm'.repeat(100_000))), /^.{1,200}$/u)
  const { sessionid } = await step(admin, node)
  await refused('conflict', step(admin, node, { sessionid, answers: { account: 'alice@localhost', days: '101' } }))
  await failed(step(admin, node, { sessionid, answers: { account: 'alice@localhost', days: 'many' } }))
  assert.deepEqual(await error(admin, node, `sessionid='${sessionid}'`), ['not-allowed', 'session-expired'])
})

test('a form comes back submitted or cancelled, and in no other way', async () => {
  const alice = await server.client('alice')
  const tea = "<field var='what'><value>tea</value></field>"
  const { sessionid } = await step(alice, 'order')
  for (const type of ["type='form'", "type='result'", "type='?'", '']) {
    const form = `<x xmlns='jabber:x:data' ${type}>${tea}</x>`
    assert.deepEqual(await error(alice, 'order', `sessionid='${sessionid}'`, form), ['bad-request', 'bad-payload'])
  }
  const cancelled = `<command xmlns='${NS_COMMANDS}' node='order' sessionid='${sessionid}'><x xmlns='jabber:x:data' type='cancel'/></command>`
  const { attrs, children } = (await alice.request('set', cancelled, 'localhost')).children[0]!
  assert.deepEqual([attrs['status'], children], ['canceled', []])
  assert.deepEqual(await error(alice, 'order', `sessionid='${sessionid}'`), ['not-allowed', 'session-expired'])
})

test('a session belongs to one client and one command', async () => {
  const [alice, other] = await server.clients('alice', 'alice')
  const { sessionid } = await step(alice, 'order')
  assert.deepEqual(await error(other, 'order', `sessionid='${sessionid}'`), ['bad-request', 'bad-sessionid'])
  const admin = await server.client('admin')
  assert.deepEqual(await error(admin, 'order', `sessionid='${sessionid}'`), ['bad-request', 'bad-sessionid'])
  await step(alice, 'order', { sessionid, action: 'cancel' })
})

test('a client has only so many commands in progress: its oldest gives way; and none waits for ever', async () => {
  const [alice, bob] = await server.clients('alice', 'bob')
  const bobs = await step(bob, 'order')
  const [one, two, three] = [await step(alice, 'order'), await step(alice, 'order'), await step(alice, 'order')]
  const gone = ['not-allowed', 'session-expired']
  assert.deepEqual(await error(alice, 'order', `sessionid='${one.sessionid}'`), gone)
  now += 9 * 60_000
  await step(alice, 'order', { sessionid: three.sessionid, answers: { what: 'tea' } })
  now += 2 * 60_000
  assert.deepEqual(await error(alice, 'order', `sessionid='${two.sessionid}'`), gone)
  assert.deepEqual(await error(bob, 'order', `sessionid='${bobs.sessionid}'`), gone)
  const end = await step(alice, 'order', { sessionid: three.sessionid, answers: { cups: '1' } })
  assert.equal(end.status, 'completed')
})

test('all clients together have only so many', async t => {
  const small = await serve(t, { extra: [mod_bar], modules: { mod_adhoc: { max_sessions: 2 } } })
  const clients = [await small.client('a'), await small.client('b'), await small.client('c')]
  const sessions: string[] = []
  for (const client of clients) sessions.push((await step(client, 'order')).sessionid)
  const states = await Promise.all(
    clients.map(async (client, i) => (await error(client, 'order', `sessionid='${sessions[i]}'`))[1]),
  )
  assert.deepEqual(states, ['session-expired', 'bad-payload', 'bad-payload'])
})

test('administrators are offered the commands of hermodctl, and nobody else is', async () => {
  const [alice, admin] = await server.clients('alice', 'admin')
  assert.deepEqual(
    (await offered(alice)).filter(node => node.startsWith('api-commands/')),
    [],
  )
  const nodes = await offered(admin)
  for (const name of ['register', 'connected_users', 'bar_bill'])
    assert.ok(nodes.includes(`api-commands/${name}`), name)
  // Files are for who is on the machine.
  for (const name of ['backup', 'restore']) assert.ok(!nodes.includes(`api-commands/${name}`), name)
  await refused('forbidden', step(alice, 'api-commands/stop'))
  await refused('item-not-found', step(admin, 'api-commands/restore'))
  const info = "<query xmlns='http://jabber.org/protocol/disco#info' node='api-commands/stop'/>"
  await refused('forbidden', alice.request('get', info, 'localhost'))
  await admin.request('get', info, 'localhost')
})

test('arguments are a form, and tables come back as tables', async () => {
  const admin = await server.client('admin')
  const { form, sessionid } = await step(admin, 'api-commands/bar_bill')
  assert.deepEqual(
    form!.children
      .filter(el => el.name === 'field')
      .map(el => [el.attrs['var'], el.attrs['type'], !!child(el, 'required')]),
    [
      ['FORM_TYPE', 'hidden', false],
      ['account', 'jid-single', true],
      ['days', 'text-single', false],
    ],
  )
  const node = 'api-commands/bar_bill'
  await refused('conflict', step(admin, node, { sessionid, answers: { account: 'alice@localhost', days: '101' } }))
  const done = await step(admin, node, { sessionid, answers: { account: 'alice@localhost', days: '7' } })
  assert.equal(done.status, 'completed')
  assert.deepEqual(done.rows, [
    { drink: 'alice@localhost', cups: '7' },
    { drink: 'water', cups: '' },
  ])
  const made = await run(admin, 'api-commands/register', { account: 'carol@localhost', password: 'correct horse' })
  assert.deepEqual(made.values['result'], ['carol@localhost can log in now'])
  await refused('conflict', run(admin, 'api-commands/register', { account: 'carol@localhost', password: 'x' }))
})

test('a table that is too long, or too large, is shown as far as there is room', async () => {
  const admin = await server.client('admin')
  const stock = (bottles: number, label: number) =>
    run(admin, 'api-commands/bar_stock', { bottles: String(bottles), label: String(label) })
  const long = await stock(1001, 1)
  assert.deepEqual([long.rows.length, long.notes], [1000, ['warn: The first 1000 of 1001 rows']])
  const large = await stock(100, 10_000)
  assert.deepEqual([large.rows.length, large.notes], [52, ['warn: The first 52 of 100 rows']])
  assert.deepEqual((await stock(2, 100_000)).notes, [])
  const song = await step(admin, 'api-commands/bar_song')
  assert.equal(song.values['result']![0]!.length, 512 * 1024)
  assert.equal(song.notes.join().length, 'info: '.length + 1000)
})

test('the commands of the server are also found at one’s own address, never at another’s', async () => {
  const [alice, admin] = await server.clients('alice', 'admin')
  const own = await offered(admin, 'admin@localhost')
  assert.ok(own.includes('api-commands/stats'))
  assert.ok(!(await offered(alice, 'alice@localhost')).includes('api-commands/stats'))
  assert.deepEqual(await offered(alice, 'admin@localhost'), [])
  const stats = await run(admin, 'api-commands/stats', undefined, 'admin@localhost')
  assert.ok(stats.rows.length > 0)
  await refused('forbidden', step(alice, 'order', { to: 'admin@localhost' }))
})

test('who administers one host does not administer the others through it', async t => {
  const two = await serve(t, { hosts: ['localhost', 'other.example'], config: ADMINS })
  const other = two.server.config.perHost.get('other.example')!
  Object.assign(other, { acl: { admin: { user: ['boss@other.example'], server: [], ip: [] } } })
  const boss = await two.client('boss', { host: 'other.example' })
  assert.deepEqual(
    (await offered(boss, 'other.example')).filter(node => node.startsWith('api-')),
    [],
  )
  await refused('forbidden', step(boss, 'api-commands/stats', { to: 'other.example' }))
})

test('each host says who runs commands that reach its accounts', async t => {
  const two = await serve(t, { hosts: ['localhost', 'other.example'], config: ADMINS })
  await reconfigure(two, 'localhost', 'mod_adhoc_api', { access: 'local' })
  const alice = await two.client('alice')
  const offers = async () => (await offered(alice)).some(node => node.startsWith('api-'))
  assert.equal(await offers(), false)
  await refused('forbidden', step(alice, 'api-commands/check_account'))
  // A host that does not offer them at all is for those who administer it.
  await reconfigure(two, 'other.example', 'mod_adhoc_api', undefined)
  assert.equal(await offers(), false)
  await reconfigure(two, 'other.example', 'mod_adhoc_api', { access: 'local' })
  assert.equal(await offers(), true)
})
