import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { available, befriend, nothing, presenceFrom } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { TwoServers } from '../support/twoservers.ts'

const [ROMEO, JULIET] = ['romeo@montague.example', 'juliet@capulet.example']

async function online(server: TestServer, user: string, resource = 'one'): Promise<RawClient> {
  const client = await server.client(user, { resource })
  await available(client)
  return client
}

async function lovers(t: TestContext) {
  const two = await TwoServers.start(t)
  const romeo = await online(two.montague, 'romeo')
  const juliet = await online(two.capulet, 'juliet')
  await befriend(romeo, juliet)
  return { two, romeo, juliet }
}

/** What a client is shown from now on of somebody: `type FROM`, with the text of `<show/>` where there is one. */
function seen(client: RawClient, whose: string): string[] {
  const lines: string[] = []
  client.on('stanza', el => {
    const { from, type = 'available' } = el.attrs
    if (el.name !== 'presence' || from?.split('/')[0] !== whose) return
    lines.push([type, from, child(el, 'show')?.text].filter(Boolean).join(' '))
  })
  return lines
}

const anyFrom =
  (whose: string) =>
  (el: XmlElement): boolean =>
    el.name === 'presence' && el.attrs['from']?.split('/')[0] === whose

const SHOW_AWAY = '<presence><show>away</show></presence>'

test('contacts see each other come, change and go; a further client is told what there is', async t => {
  const { romeo, juliet, two } = await lovers(t)
  juliet.send(SHOW_AWAY)
  await romeo.receive(el => presenceFrom(juliet.jid)(el) && child(el, 'show')?.text === 'away')
  const got = two.arrivals('capulet')
  const tab = await online(two.montague, 'romeo', 'two')
  const shown = await tab.receive(presenceFrom(juliet.jid))
  assert.equal(child(shown, 'show')?.text, 'away')
  await two.settled(tab)
  const probes = got.filter(line => line.startsWith('presence probe'))
  assert.deepEqual(probes, [`presence probe ${tab.jid} ${JULIET}`])
  juliet.cut()
  for (const client of [romeo, tab]) await client.receive(presenceFrom(juliet.jid, 'unavailable'))
})

test('of who is away a contact elsewhere learns since when, and what was said; not where nobody may know', async t => {
  const { romeo, juliet, two } = await lovers(t)
  await romeo.close()
  juliet.send("<presence type='unavailable'><status>Gone to the friar</status></presence>")
  await juliet.close()
  const again = await online(two.montague, 'romeo')
  const away = await again.receive(presenceFrom(JULIET, 'unavailable'))
  assert.equal(child(away, 'status')?.text, 'Gone to the friar')
  const since = Date.parse(child(away, 'delay', 'urn:xmpp:delay')!.attrs['stamp']!)
  assert.ok(Math.abs(Date.now() - since) < 60_000)
  await again.close()
  await two.reload('capulet', { mod_last: { privacy: 'nobody' } })
  const third = await online(two.montague, 'romeo')
  const bare = await third.receive(presenceFrom(JULIET, 'unavailable'))
  assert.deepEqual(bare.children, [])
})

test('a stranger learns nothing: nothing is sent to it, and its probe is answered as by no account', async t => {
  const two = await TwoServers.start(t)
  const juliet = await online(two.capulet, 'juliet')
  const romeo = await online(two.montague, 'romeo')
  romeo.send(`<presence to='${JULIET}' type='subscribe'/>`)
  await juliet.receive(presenceFrom(ROMEO, 'subscribe'))
  const came = two.arrivals('montague')
  juliet.send(SHOW_AWAY)
  const tab = await online(two.capulet, 'juliet', 'two')
  await tab.close()
  for (const user of ['juliet', 'nobody'])
    two.send(`<presence type='probe' from='tybalt@montague.example/x' to='${user}@capulet.example'/>`)
  two.send(`<presence type='probe' from='${ROMEO}' to='${JULIET}/one'/>`)
  await two.settled(juliet, romeo)
  assert.deepEqual(came.filter(line => line.startsWith('presence')).sort(), [
    `presence unsubscribed ${JULIET} ${ROMEO}`,
    `presence unsubscribed ${JULIET} tybalt@montague.example`,
    'presence unsubscribed nobody@capulet.example tybalt@montague.example',
  ])
})

test('where no rosters are kept nobody is told that a subscription has ended', async t => {
  const two = await TwoServers.start(t, { capulet: { modules: { mod_roster: false } } })
  await two.capulet.register('juliet')
  const romeo = await online(two.montague, 'romeo')
  const came = two.arrivals('montague')
  for (const user of ['juliet', 'nobody'])
    two.send(`<presence type='probe' from='${ROMEO}' to='${user}@capulet.example'/>`)
  await two.settled(romeo)
  assert.deepEqual(
    came.filter(line => line.startsWith('presence')),
    [],
  )
})

test('directed presence: who was told learns when the session ends, once', async t => {
  const two = await TwoServers.start(t)
  const romeo = await online(two.montague, 'romeo')
  const juliet = await online(two.capulet, 'juliet')
  const got = seen(juliet, ROMEO)
  romeo.send(`<presence to='${JULIET}'/>`)
  romeo.send(`<presence to='${juliet.jid}'><show>chat</show></presence>`)
  romeo.send(SHOW_AWAY)
  await two.settled(romeo)
  romeo.cut()
  await juliet.receive(presenceFrom(romeo.jid, 'unavailable'))
  await two.settled(juliet)
  assert.deepEqual(got, [
    `available ${romeo.jid}`,
    `available ${romeo.jid} chat`,
    `unavailable ${romeo.jid}`, // to the account
    `unavailable ${romeo.jid}`, // to the client
  ])
})

test('a contact whose server cannot be found is no fault that clients are shown; what they sent to one address is', async t => {
  const { two, romeo } = await lovers(t)
  const [contact, error] = ['paris@nowhere.example', presenceFrom('paris@nowhere.example', 'error')]
  await two.montague.command('add_rosteritem', { account: ROMEO, contact, subscription: 'both' })
  const failed: XmlElement[] = []
  romeo.on('stanza', el => void (error(el) && failed.push(el)))
  romeo.send(SHOW_AWAY)
  const tab = await online(two.montague, 'romeo', 'two') // asks, too
  await two.nothing(romeo, error, tab)
  await two.nothing(tab, error)
  romeo.send(`<presence to='${contact}' id='d'/>`)
  const told = await romeo.receive(error)
  assert.deepEqual([told.attrs['id'], errorCondition(told)], ['d', 'remote-server-not-found'])
  romeo.send("<presence type='unavailable'/>")
  await two.nothing(romeo, error)
  assert.equal(failed.length, 1)
})

test('presence that comes back as an error is not answered; of a room that is entered the client learns it', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const came = two.arrivals('montague')
  const answer = "<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
  const refuse = (from: string, to: string) =>
    two.send(`<presence type='error' from='${from}' to='${to}'>${answer}</presence>`)
  juliet.send("<presence to='hall@montague.example/juliet' id='in'/>")
  await two.settled(juliet)
  came.length = 0
  refuse('hall@montague.example/juliet', juliet.jid)
  assert.equal(errorCondition(await juliet.receive(presenceFrom('hall@montague.example/juliet', 'error'))), 'conflict')
  refuse(romeo.jid, juliet.jid)
  refuse(ROMEO, JULIET)
  refuse(ROMEO, `${JULIET}/gone`)
  refuse(ROMEO, 'nobody@capulet.example')
  refuse(ROMEO, 'capulet.example')
  await two.nothing(juliet, el => el.attrs['type'] === 'error')
  assert.deepEqual(
    came.filter(line => line.startsWith('presence')),
    [],
  )
  // It never was there: it is not told that juliet goes.
  juliet.send("<presence type='unavailable'/>")
  await romeo.receive(presenceFrom(juliet.jid, 'unavailable'))
  assert.deepEqual(
    came.filter(line => line.includes('hall@')),
    [],
  )
})

test('a peer that is gone for long: its users are shown as gone; when it is back both sides see what is', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const tab = await online(two.capulet, 'juliet', 'two')
  await romeo.receive(presenceFrom(tab.jid))
  const dumb = await two.montague.client('romeo', { resource: 'not available' })
  const got = seen(romeo, JULIET)
  two.cut('remote-server-timeout')
  two.tell('peer_gone')
  await romeo.receive(presenceFrom(juliet.jid, 'unavailable'))
  await romeo.receive(presenceFrom(tab.jid, 'unavailable'))
  await juliet.receive(presenceFrom(romeo.jid, 'unavailable'))
  await nothing(dumb, anyFrom(JULIET), romeo)
  // Of what happens now the other side hears nothing.
  await tab.close()
  juliet.send(SHOW_AWAY)
  romeo.send('<presence><show>dnd</show></presence>')
  await juliet.ping()
  await romeo.ping()
  got.length = 0
  two.mend()
  two.tell('peer_back')
  await romeo.receive(el => presenceFrom(juliet.jid)(el) && child(el, 'show')?.text === 'away')
  await juliet.receive(el => presenceFrom(romeo.jid)(el) && child(el, 'show')?.text === 'dnd')
  await two.settled(romeo, juliet)
  assert.deepEqual(new Set(got), new Set([`available ${juliet.jid} away`]))
})

test('a peer that is gone: who was not shown is not shown as gone, nor are contacts of other peers', async t => {
  const { two, romeo, juliet } = await lovers(t)
  juliet.send("<presence type='unavailable'/>")
  await romeo.receive(presenceFrom(juliet.jid, 'unavailable'))
  two.tell('peer_gone')
  await two.nothing(romeo, anyFrom(JULIET), juliet)
  await available(juliet)
  await romeo.receive(presenceFrom(juliet.jid))
  two.montague.server
    .host('montague.example')!
    .hooks.notify('peer_gone', { local: 'montague.example', remote: 'verona.example' })
  two.montague.server
    .host('montague.example')!
    .hooks.notify('peer_gone', { local: 'rooms.montague.example', remote: 'capulet.example' })
  await two.nothing(romeo, anyFrom(JULIET), juliet)
})

test('a question that was lost while the peer was gone is asked when it is back', async t => {
  const two = await TwoServers.start(t)
  const romeo = await online(two.montague, 'romeo')
  const juliet = await online(two.capulet, 'juliet')
  two.cut()
  romeo.send(`<presence to='${JULIET}' type='subscribe'/>`)
  await romeo.ping()
  two.mend()
  two.tell('peer_back')
  await juliet.receive(presenceFrom(ROMEO, 'subscribe'))
})

test('nothing is said to who is blocked when its server is back', async t => {
  const { two, romeo, juliet } = await lovers(t)
  await juliet.request('set', `<block xmlns='urn:xmpp:blocking'><item jid='montague.example'/></block>`)
  await romeo.receive(presenceFrom(juliet.jid, 'unavailable'))
  const came = two.arrivals('montague')
  two.tell('peer_back')
  await two.settled(romeo)
  assert.deepEqual(
    came.filter(line => line.startsWith('presence')),
    [],
  )
})

test('a client that goes on after a restart of its server learns what its contacts elsewhere did meanwhile', async t => {
  const two = await TwoServers.start(t)
  const juliet = await online(two.capulet, 'juliet')
  const romeo = await online(two.montague, 'romeo')
  await befriend(romeo, juliet)
  const sm = await romeo.enable()
  await romeo.ping()
  two.cut()
  juliet.send(SHOW_AWAY)
  await juliet.ping()
  two.mend()
  await two.restart('montague')
  const again = await two.montague.connect()
  await again.login({ user: 'romeo', password: 'secret' })
  assert.equal(await again.resume(sm), true)
  await again.receive(el => presenceFrom(juliet.jid)(el) && child(el, 'show')?.text === 'away')
})

test('of a contact with very many clients it is known that all of them are gone', async t => {
  const { two, romeo } = await lovers(t)
  for (let i = 0; i < 2000; i++) two.send(`<presence from='${JULIET}/${i}' to='${ROMEO}'/>`)
  await romeo.receive(presenceFrom(`${JULIET}/1999`))
  const got = seen(romeo, JULIET)
  two.tell('peer_gone')
  await romeo.receive(presenceFrom(JULIET, 'unavailable'))
  assert.equal(got.length, 2001)
  assert.ok(!got.includes(`unavailable ${JULIET}/one`))
})
