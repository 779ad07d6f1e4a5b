import { opt } from '../../config/schema.ts'

export const options = {
  include_sender: opt.bool(false, 'Tells the push service who sent the message.'),
  include_body: opt.bool(false, 'Tells the push service what the message says.'),
  ack_timeout: opt.duration(
    '30s',
    'How long a connected client may leave a message unacknowledged before its user is notified.',
    { min: 50, max: 3_600_000 },
  ),
  notify_absent: opt.bool(
    false,
    'Notifies a device that is away even while other clients of its user are online and take the message.',
  ),
  max_registrations: opt.int(
    10,
    'Devices of one user that are notified; one more, and the one enabled longest ago is forgotten.',
    { min: 1, max: 100 },
  ),
  answer_timeout: opt.duration('30s', 'How long a push service may take to answer.', { min: 50, max: 600_000 }),
  retry_after: opt.duration(
    '30s',
    'When a push service that failed is tried again; after each further failure twice as late.',
    { min: 50, max: 3_600_000 },
  ),
  max_errors: opt.int(16, 'Failures in a row after which a device is no longer notified.', { min: 1, max: 1000 }),
  wake_on_start: opt.bool(true, 'Notifies, after a start, of what nobody had acknowledged or been notified of.'),
  resume_timeout: opt.duration(
    '72h',
    'How long the session of a device with push may be resumed when its connection broke; 0 leaves it as for all.',
    { max: 14 * 86_400_000 },
  ),
}

export type PushOptions = typeof options
