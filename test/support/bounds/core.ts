import type { Bounds } from './bound.ts'

export const BOUNDS: Bounds = {
  'remembered messages of a sender (to recognise copies)': {
    number: 'the window holds the last 256, in memory and in the store',
    bytes: 'each',
  },
  'messages kept for one device of a user': 'so many messages and so many bytes are kept for a device; the oldest go',
  'accounts in memory that nobody uses': {
    number: 'accounts that nobody uses leave memory, those in use stay',
    bytes: 'accounts that nobody uses have so many bytes together; beyond that those leave that hold much',
  },
  'changes of one thing (a vCard, a picture, a list, a user’s invitations) that wait for one another': {
    number: 'of one thing so many changes wait; who makes one more is told to try again',
    bytes: 'each',
  },
  'iqs that wait for an answer': {
    number: 'no answer in time is none; beyond the bound the oldest gives way',
    bytes: 'each',
  },
  'writes that wait for the disk': {
    bytes: 'writes beyond what may wait for the disk are refused, and the store goes on',
  },
  'messages in memory while a backlog is read': {
    number: 'a backlog of several pages comes in order, and what comes meanwhile comes after it',
    bytes: 'a backlog of large messages is read a few at a time, from the queue and from the archive',
  },
  'messages that wait for an account': {
    number: 'beyond the bound the sender gets an error, and what waits is untouched',
    bytes: 'what waits has so many bytes, in the archive or in the queue',
  },
  'messages that wait for a failing disk though a client may have them':
    'so many that a client may have wait for a failing disk, and so many bytes of them; more come back',
}
