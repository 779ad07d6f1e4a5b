/** Declared commands on a whole server: at which host they run, and how their arguments and results look in forms. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { opt } from '../../src/config/schema.ts'
import { arg, CommandError } from '../../src/core/commands/command.ts'
import { defineModule } from '../../src/core/module.ts'
import { failed, reconfigure, run, step } from '../support/commands.ts'
import { child } from '../support/rawxml.ts'
import { serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

/** Pours what its option says. */
const mod_bar = defineModule({
  name: 'mod_bar',
  summary: 'For tests.',
  options: { drink: opt.text('tea', 'What is poured.') },
  start(ctx) {
    const { drink } = ctx.options
    ctx.command({
      name: 'bar_pour',
      summary: 'Pours for an account.',
      args: { account: arg.account('For whom') },
      run: ({ account }) => `${drink} for ${account.user}, at ${account.host === ctx.host ? 'home' : 'another host'}`,
    })
    ctx.command({
      name: 'bar_menu',
      summary: 'What there is.',
      args: { host: arg.host('Where', { optional: true }) },
      returns: { host: 'jid', drink: 'text', hot: 'bool', with: 'list', since: 'time?' },
      run: ({ host }) => [{ host: host!.jid, drink, hot: drink === 'tea', with: ['milk', 'sugar'], since: null }],
    })
    ctx.command({
      name: 'bar_order',
      summary: 'Takes an order.',
      args: {
        host: arg.host('Where'),
        hot: arg.bool('Whether it is hot'),
        with: arg.list('What goes into it', { values: ['milk', 'sugar'], optional: true }),
        notes: arg.list('What the cook is told', { optional: true }),
        bill: arg.object('Who pays', { name: arg.text('Name'), cups: arg.int('Cups') }),
      },
      run(order) {
        if (order.bill.cups === 0) throw new CommandError('failed', 'nothing was ordered')
        return JSON.stringify({ ...order, host: order.host.name })
      },
    })
  },
})

const HOSTS = ['localhost', 'other.example', 'dry.example']

/** mod_bar pours tea at localhost and wine at other.example; it does not run at dry.example. */
async function start(t: TestContext): Promise<TestServer> {
  const config = { acl: { admin: { user: ['admin@localhost'] } } }
  const server = await serve(t, { hosts: HOSTS, config, extra: [mod_bar] })
  await reconfigure(server, 'other.example', 'mod_bar', { drink: 'wine' }, [mod_bar])
  await reconfigure(server, 'dry.example', 'mod_bar', undefined, [mod_bar])
  for (const host of HOSTS) await server.server.host(host)!.users.create('alice', 'secret')
  return server
}

test('a command runs at the host that it is about, with what that host has configured', async t => {
  const server = await start(t)
  const pour = (host: string) => server.command('bar_pour', [`alice@${host}`])
  assert.equal(await pour('localhost'), 'tea for alice, at home')
  assert.equal(await pour('other.example'), 'wine for alice, at home')
  const off = { code: 'not_found', message: 'mod_bar does not run on dry.example' }
  await assert.rejects(pour('dry.example'), off)
  await assert.rejects(server.command('bar_menu', ['dry.example']), off)
  await assert.rejects(server.command('bar_pour', ['bob@other.example']), { message: /no account bob@other\.example/ })
})

test('a host that reloads, or leaves the module out, changes what is run there and nowhere else', async t => {
  const server = await start(t)
  await reconfigure(server, 'localhost', 'mod_bar', undefined, [mod_bar])
  await assert.rejects(server.command('bar_pour', ['alice@localhost']), { message: /does not run on localhost/ })
  assert.equal(await server.command('bar_pour', ['alice@other.example']), 'wine for alice, at home')
  await reconfigure(server, 'localhost', 'mod_bar', { drink: 'milk' }, [mod_bar])
  assert.equal(await server.command('bar_pour', ['alice@localhost']), 'milk for alice, at home')
})

test('without a host it runs at all that have it', async t => {
  const server = await start(t)
  const rows = await server.command<Record<string, unknown>[]>('bar_menu')
  assert.deepEqual(
    rows.map(({ host, drink, hot }) => [host, drink, hot]),
    [
      ['localhost', 'tea', true],
      ['other.example', 'wine', false],
    ],
  )
})

test('in a form each argument has a field of its kind, and results the types of theirs', async t => {
  const server = await start(t)
  const admin = await server.client('admin')
  const node = 'api-commands/bar_order'
  const { form } = await step(admin, node)
  const fields = form!.children.filter(el => el.name === 'field')
  assert.deepEqual(
    fields.map(field => [field.attrs['var'], field.attrs['type'], child(field, 'required') !== undefined]),
    [
      ['FORM_TYPE', 'hidden', false],
      ['host', 'list-single', true],
      ['hot', 'boolean', true],
      ['with', 'list-multi', false],
      ['notes', 'text-multi', false],
      ['bill', 'text-multi', true],
    ],
  )
  const bill = ['{"name": "Alice",', '"cups": 2}']
  const order = { host: 'localhost', hot: '1', with: ['milk', 'sugar'], notes: ['hot, please', 'and sweet'], bill }
  const { values } = await run(admin, node, order)
  const expected = {
    host: 'localhost',
    hot: true,
    with: order.with,
    notes: order.notes,
    bill: { name: 'Alice', cups: 2 },
  }
  assert.deepEqual(JSON.parse(values['result']![0]!), expected)
  const none = await run(admin, node, { host: 'localhost', hot: '0', bill: '{"name": "Bob", "cups": 1}' })
  assert.deepEqual(JSON.parse(none.values['result']![0]!), {
    host: 'localhost',
    hot: false,
    bill: { name: 'Bob', cups: 1 },
  })
  assert.match(await failed(run(admin, node, { ...order, bill: 'mine' })), /bill: a JSON object, not "mine"/)
  assert.match(await failed(run(admin, node, { ...order, bill: '{"name": "x", "cups": 0}' })), /nothing was ordered/)

  const menu = await run(admin, 'api-commands/bar_menu', {})
  const reported = child(menu.form, 'reported')!.children
  assert.deepEqual(
    reported.map(field => [field.attrs['var'], field.attrs['type']]),
    [
      ['host', 'jid-single'],
      ['drink', undefined],
      ['hot', 'boolean'],
      ['with', 'text-multi'],
      ['since', undefined],
    ],
  )
  const [tea] = menu.form!.children.filter(el => el.name === 'item')
  assert.deepEqual(
    tea!.children.map(field => field.children.map(value => value.text)),
    [['localhost'], ['tea'], ['true'], ['milk', 'sugar'], ['']],
  )
})
