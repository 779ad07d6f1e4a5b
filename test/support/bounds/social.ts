import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { parseElement } from '../../../src/xml/index.ts'
import { Stanza } from '../../../src/xmpp/stanza.ts'
import { serve } from '../talk.ts'
import type { Bounds } from './bound.ts'

/** Nobody answers: the one too many is not asked. */
async function askedAtATime(t: TestContext): Promise<void> {
  const server = await serve(t, { modules: { mod_pubsub: false } })
  const { router, services } = server.server.host('localhost')!
  let asked = 0
  router.fallback = { ...router.fallback, deliver: () => void asked++ }
  const features = (user: number, ver: number) => {
    const c = `<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='${ver}'/>`
    return services
      .use('caps')!
      .features(Stanza.of(parseElement(`<presence from='u${user}@far.example/r'>${c}</presence>`)))
  }
  for (let i = 0; i < 30; i++) void features(0, i)
  assert.equal(await features(0, 30), undefined)
  assert.equal(asked, 30, 'of one account')
  for (let i = 30; i < 10_000; i++) void features(i, i)
  assert.equal(await features(10_000, 10_000), undefined)
  assert.equal(asked, 10_000)
}

export const BOUNDS: Bounds = {
  'contacts, and bytes of their addresses, names and groups': {
    number: 'a roster holds so many contacts and no more; what is there can still be changed',
    bytes: 'the names and groups of a roster have so many bytes, however many contacts it has',
  },
  'changes of a roster that a client may have missed': {
    number: 'so many changes are remembered, over a restart too; who has missed more gets the roster whole',
    bytes: 'each',
  },
  'subscription requests that wait for an answer, and their bytes': {
    number: 'requests of strangers are bounded, and leave the user room for contacts',
    bytes: 'of many long requests so much is kept, and of the others that they were sent',
  },
  'blocked addresses, and their bytes': 'so many can be blocked and no more',
  'bytes of a presence': { bytes: 'a presence has so many bytes, and one that is larger changes nothing' },
  'directed presences of a session, and bytes of the addresses':
    'presence is sent directly to so many addresses, of so many characters in all',
  'what clients can do, by their hashes': {
    number: 'a map keeps so many entries, of so much weight; what was used last stays',
    bytes: 'of one answer so much is read, and more than that is remembered for nobody',
  },
  'clients that are asked what they can do, at a time': { number: askedAtATime, bytes: 'each' },
  'presence and last items for a client that comes online':
    'who comes online with many contacts is told of them as fast as it reads',
  'nodes, items, subscriptions': {
    number: 'an account has so many nodes, and no more',
    bytes: 'an item has so many bytes, and names so many characters',
  },
  'abuse reports': 'reports are bounded: in all, of one user a day, and in length',
  'strangers that somebody wrote to': {
    number: 'of whom one wrote to, the latest are remembered',
    bytes: 'so many characters of them, too',
  },
  'private data of an account': {
    number: 'pieces are bounded in size and number',
    bytes: 'all pieces together have so many bytes',
  },
  'bookmarks of a user': {
    number: 'a list of the old form has so many rooms',
    bytes: 'all bookmarks of a user have so many bytes, however they are written',
  },
  vCards: {
    number: 'what a user tells of herself, she and others read',
    bytes: 'a vCard at the bound is kept, one beyond is not',
  },
  'addresses of those who are something to a node': {
    number: 'a request names so many, and a node keeps so many in mind',
    bytes: 'the addresses of those who are something to a node have so many bytes, however many they are',
  },
  'addresses of those who are something to all nodes that one account made': {
    number: 'an account has so many nodes, and no more',
    bytes: 'those of all nodes that one made, together, too; what ends makes room',
  },
  'last items for those who have come to see a node by a change of access': {
    number: 'who opens and shuts a node again and again floods nobody with what is there',
    bytes: 'each',
  },
  'questions to the owners of a node': { number: 'who asks the owners again and again is heard so often in an hour' },
  'what an owner is told who did not make the node': {
    number: 'who was made an owner without being asked is told so often in an hour',
  },
  'nodes at the service that one is subscribed to': {
    number: 'one is subscribed to so many nodes at the service',
    bytes: 'each',
  },
  'names and configurations of an account’s nodes': {
    number: 'an account has so many nodes, and no more',
    bytes: 'the names and configurations of an account’s nodes have so many characters',
  },
  'nodes, or items of a node, that service discovery lists': {
    number: 'service discovery lists so many nodes, and items of one',
    bytes: 'each',
  },
  'who is what to nodes, in memory': {
    bytes: 'beyond its memory a host forgets who is what to nodes that nobody uses, and reads it again',
  },
  'clients of contacts elsewhere that an account sees as available': {
    number: 'of a contact with very many clients it is known that all of them are gone',
    bytes: 'a map keeps so many entries, of so much weight; what was used last stays',
  },
  'clients on other servers that an account keeps in mind': {
    number: 'so many clients on other servers are kept in mind',
    bytes: 'a map keeps so many entries, of so much weight; what was used last stays',
  },
  'last items that wait while a node tells many of something':
    'where much waits under a key, what can be spared is left out, by number and by bytes; the rest is not',
  'what one sends to many (nodes, announcements)': {
    number: 'many addresses are no reason to keep others waiting, and order holds',
    bytes: 'however many send to many, little of it waits for the disk',
  },
  'bytes that an account stores in nodes': {
    bytes: 'an account stores so many bytes in its nodes, and what it deletes makes room',
  },
}
