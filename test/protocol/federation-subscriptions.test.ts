import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, befriend, presenceFrom } from '../support/talk.ts'
import { TwoServers } from '../support/twoservers.ts'

const ROSTER = 'jabber:iq:roster'
const [ROMEO, JULIET] = ['romeo@montague.example', 'juliet@capulet.example']

const push =
  (jid: string, attrs: Record<string, string>) =>
  (el: XmlElement): boolean => {
    const item = child(child(el, 'query', ROSTER), 'item')
    if (el.attrs['type'] !== 'set' || item?.attrs['jid'] !== jid) return false
    return Object.entries(attrs).every(([name, value]) => item.attrs[name] === value)
  }

/** A client of romeo or juliet that has the roster and is available. */
async function online(two: TwoServers, user: 'romeo' | 'juliet', resource = 'one'): Promise<RawClient> {
  const client = await (user === 'romeo' ? two.montague : two.capulet).client(user, { resource })
  await client.request('get', `<query xmlns='${ROSTER}'/>`)
  await available(client)
  return client
}

async function lovers(t: TestContext) {
  const two = await TwoServers.start(t)
  return { two, romeo: await online(two, 'romeo'), juliet: await online(two, 'juliet') }
}

/** `subscription`, and what waits. */
async function state(client: RawClient, contact: string): Promise<string> {
  const answer = await client.request('get', `<query xmlns='${ROSTER}'/>`)
  const item = child(answer, 'query')!.children.find(el => el.attrs['jid'] === contact)
  return item === undefined ? 'no item' : [item.attrs['subscription'], item.attrs['ask']].filter(Boolean).join(' ')
}

test('asking, agreeing, asking back: both see each other, from bare addresses, in the order of RFC 6121', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const came = two.arrivals('capulet')
  romeo.send(`<presence to='${JULIET}/one' type='subscribe'><status>It is the east</status></presence>`)
  const request = await juliet.receive(presenceFrom(ROMEO, 'subscribe'))
  assert.equal(request.attrs['to'], JULIET)
  assert.equal(child(request, 'status')?.text, 'It is the east')
  await romeo.receive(push(JULIET, { subscription: 'none', ask: 'subscribe' }))
  juliet.send(`<presence to='${ROMEO}' type='subscribed'/>`)
  await romeo.receive(presenceFrom(JULIET, 'subscribed'))
  await romeo.receive(push(JULIET, { subscription: 'to' }))
  await romeo.receive(presenceFrom(juliet.jid))
  await juliet.receive(push(ROMEO, { subscription: 'from' }))
  juliet.send(`<presence to='${ROMEO}' type='subscribe'/>`)
  await romeo.receive(presenceFrom(JULIET, 'subscribe'))
  romeo.send(`<presence to='${JULIET}' type='subscribed'/>`)
  await juliet.receive(presenceFrom(romeo.jid))
  assert.equal(await state(juliet, ROMEO), 'both')
  assert.deepEqual(came, [
    `presence subscribe ${ROMEO} ${JULIET}`,
    `presence subscribed ${ROMEO} ${JULIET}`,
    `presence available ${romeo.jid} ${JULIET}`,
  ])
})

test('a question waits for its answer over restarts of either server', async t => {
  const two = await TwoServers.start(t)
  await two.capulet.register('juliet')
  const romeo = await online(two, 'romeo')
  romeo.send(`<presence to='${JULIET}' type='subscribe'><status>Hi</status></presence>`)
  await two.settled(romeo)
  await two.restart('capulet')
  await two.restart('montague')
  const juliet = await online(two, 'juliet')
  const request = await juliet.receive(presenceFrom(ROMEO, 'subscribe'))
  assert.equal(child(request, 'status')?.text, 'Hi')
  const again = await online(two, 'romeo')
  assert.equal(await state(again, JULIET), 'none subscribe')
  juliet.send(`<presence to='${ROMEO}' type='subscribed'/>`)
  await again.receive(presenceFrom(JULIET, 'subscribed'))
  await again.receive(presenceFrom(juliet.jid))
})

test('a question that was lost is asked again when the user comes online, and shown once', async t => {
  const { two, romeo, juliet } = await lovers(t)
  two.cut()
  romeo.send(`<presence to='${JULIET}' type='subscribe'/>`)
  await romeo.ping()
  await romeo.close()
  two.mend()
  const again = await online(two, 'romeo')
  await juliet.receive(presenceFrom(ROMEO, 'subscribe'))
  const tab = await online(two, 'romeo', 'two')
  await two.nothing(juliet, presenceFrom(ROMEO, 'subscribe'), again, tab)
})

test('a yes that was lost is found when the question is asked again', async t => {
  const { two, romeo, juliet } = await lovers(t)
  romeo.send(`<presence to='${JULIET}' type='subscribe'/>`)
  await juliet.receive(presenceFrom(ROMEO, 'subscribe'))
  two.cut()
  juliet.send(`<presence to='${ROMEO}' type='subscribed'/>`)
  await juliet.receive(push(ROMEO, { subscription: 'from' }))
  await juliet.ping()
  two.mend()
  assert.equal(await state(romeo, JULIET), 'none subscribe')
  const tab = await online(two, 'romeo', 'two')
  await tab.receive(presenceFrom(JULIET, 'subscribed'))
  await tab.receive(presenceFrom(juliet.jid))
  assert.equal(await state(tab, JULIET), 'to')
})

test('a question to a server that is not there is answered to who asked, and is no news at each login', async t => {
  const { two, romeo } = await lovers(t)
  const failed = presenceFrom('paris@nowhere.example', 'error')
  romeo.send(`<presence to='paris@nowhere.example' type='subscribe' id='ask'/>`)
  const error = await romeo.receive(failed)
  assert.equal(error.attrs['id'], 'ask')
  assert.equal(await state(romeo, 'paris@nowhere.example'), 'none subscribe')
  const tab = await online(two, 'romeo', 'two')
  for (const client of [romeo, tab]) await two.nothing(client, failed)
})

test('no, and a yes that is taken back', async t => {
  const { two, romeo, juliet } = await lovers(t)
  romeo.send(`<presence to='${JULIET}' type='subscribe'/>`)
  await juliet.receive(presenceFrom(ROMEO, 'subscribe'))
  juliet.send(`<presence to='${ROMEO}' type='unsubscribed'/>`)
  await romeo.receive(presenceFrom(JULIET, 'unsubscribed'))
  await romeo.receive(push(JULIET, { subscription: 'none' }))
  await befriend(romeo, juliet)
  const came = two.arrivals('montague')
  juliet.send(`<presence to='${ROMEO}' type='unsubscribed'/>`)
  await romeo.receive(presenceFrom(juliet.jid, 'unavailable'))
  await romeo.receive(presenceFrom(JULIET, 'unsubscribed'))
  assert.deepEqual(came, [`presence unavailable ${juliet.jid} ${ROMEO}`, `presence unsubscribed ${JULIET} ${ROMEO}`])
  assert.deepEqual([await state(romeo, JULIET), await state(juliet, ROMEO)], ['from', 'to'])
  juliet.send('<presence><show>away</show></presence>')
  await two.nothing(romeo, presenceFrom(juliet.jid), juliet)
})

test('who no longer wants to see sees the contact go', async t => {
  const { romeo, juliet } = await lovers(t)
  await befriend(romeo, juliet)
  romeo.send(`<presence to='${JULIET}' type='unsubscribe'/>`)
  await juliet.receive(presenceFrom(ROMEO, 'unsubscribe'))
  await juliet.receive(push(ROMEO, { subscription: 'to' }))
  await romeo.receive(presenceFrom(juliet.jid, 'unavailable'))
  await romeo.receive(push(JULIET, { subscription: 'from' }))
})

test('a yes before the question is given at once, across servers too', async t => {
  const { two, romeo, juliet } = await lovers(t)
  juliet.send(`<presence to='${ROMEO}' type='subscribed'/>`)
  await juliet.receive(push(ROMEO, { subscription: 'none', approved: 'true' }))
  await two.nothing(romeo, presenceFrom(JULIET, 'subscribed'), juliet)
  romeo.send(`<presence to='${JULIET}' type='subscribe'/>`)
  await romeo.receive(presenceFrom(JULIET, 'subscribed'))
  await romeo.receive(presenceFrom(juliet.jid))
  await two.nothing(juliet, presenceFrom(ROMEO, 'subscribe'), romeo)
})

test('removing a contact ends both subscriptions; it sees the user go before', async t => {
  const { two, romeo, juliet } = await lovers(t)
  await befriend(romeo, juliet)
  const came = two.arrivals('capulet')
  await romeo.request('set', `<query xmlns='${ROSTER}'><item jid='${JULIET}' subscription='remove'/></query>`)
  await juliet.receive(presenceFrom(ROMEO, 'unsubscribed'))
  await romeo.receive(presenceFrom(juliet.jid, 'unavailable'))
  assert.deepEqual([await state(romeo, JULIET), await state(juliet, ROMEO)], ['no item', 'none'])
  assert.deepEqual(came, [
    `presence unavailable ${romeo.jid} ${JULIET}`,
    `presence unsubscribe ${ROMEO} ${JULIET}`,
    `presence unsubscribed ${ROMEO} ${JULIET}`,
  ])
})

test('contacts elsewhere of an account that is removed learn that it is over', async t => {
  const { two, romeo, juliet } = await lovers(t)
  await befriend(romeo, juliet)
  await romeo.close()
  await two.montague.server.host('montague.example')!.removeAccount('romeo')
  await juliet.receive(presenceFrom(ROMEO, 'unsubscribe'))
  await juliet.receive(presenceFrom(ROMEO, 'unsubscribed'))
  assert.equal(await state(juliet, ROMEO), 'none')
})

test('they learn it with their next login where their server was away when it was removed', async t => {
  const { two, romeo, juliet } = await lovers(t)
  await befriend(romeo, juliet)
  await romeo.close()
  await juliet.close()
  two.cut()
  await two.montague.server.host('montague.example')!.removeAccount('romeo')
  two.mend()
  // RFC 6121 4.3.2: the probe at the next login tells.
  const again = await online(two, 'juliet')
  await again.receive(presenceFrom(ROMEO, 'unsubscribed'))
  await again.receive(push(ROMEO, { subscription: 'from' }))
})

test('a subscription that one side knows of alone ends with the next probe; an approval stays', async t => {
  const { two, romeo, juliet } = await lovers(t)
  await befriend(romeo, juliet)
  two.cut()
  juliet.send(`<presence to='${ROMEO}' type='unsubscribed'/>`)
  juliet.send(`<presence to='${ROMEO}' type='subscribed'/>`)
  await juliet.receive(push(ROMEO, { subscription: 'to', approved: 'true' }))
  assert.equal(await state(romeo, JULIET), 'both')
  two.mend()
  const tab = await online(two, 'romeo', 'two')
  await tab.receive(presenceFrom(JULIET, 'unsubscribed'))
  assert.deepEqual([await state(tab, JULIET), await state(juliet, ROMEO)], ['from', 'to'])
  tab.send(`<presence to='${JULIET}' type='subscribe'/>`)
  await tab.receive(presenceFrom(JULIET, 'subscribed'))
  assert.deepEqual([await state(tab, JULIET), await state(juliet, ROMEO)], ['both', 'both'])
})

test('who asks again though it may see already gets a yes and what there is to see', async t => {
  const { two, romeo, juliet } = await lovers(t)
  await befriend(romeo, juliet)
  await two.montague.command('add_rosteritem', { account: ROMEO, contact: JULIET })
  romeo.send(`<presence to='${JULIET}' type='subscribe'/>`)
  await romeo.receive(presenceFrom(JULIET, 'subscribed'))
  await romeo.receive(push(JULIET, { subscription: 'to' }))
  await romeo.receive(presenceFrom(juliet.jid))
  await two.nothing(juliet, presenceFrom(ROMEO, 'subscribe'), romeo)
})

test('answers that nobody has asked for change nothing', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const before = await state(juliet, ROMEO)
  for (const type of ['subscribed', 'unsubscribed', 'unsubscribe']) {
    two.send(`<presence from='${ROMEO}' to='${JULIET}' type='${type}'/>`)
  }
  await two.nothing(juliet, el => el.name === 'presence' && el.attrs['from'] === ROMEO, romeo)
  assert.equal(await state(juliet, ROMEO), before)
})
