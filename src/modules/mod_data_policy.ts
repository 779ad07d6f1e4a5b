import { opt } from '../config/schema.ts'
import { defineModule } from '../core/module.ts'
import { NS } from '../xml/index.ts'
import type { FormField } from '../xmpp/forms.ts'

const HOUR = 3_600_000
const hours = (doc: string) => opt.duration(undefined, doc, { infinity: true })

/** Every option that is set is a field of the form; nothing is guessed. */
export const mod_data_policy = defineModule({
  name: 'mod_data_policy',
  xep: {
    number: 504,
    version: '0.1.0',
    name: 'Data Policy',
    partial: 'Not where data lies (XEP-0080), nor what concerns gateways.',
  },
  summary: 'Tells users what becomes of their data: how long it is kept, who may see it, how to be rid of it.',
  optional: true,
  options: {
    auth_data: opt.oneOf(
      ['no_auth', 'plain', 'hidden', 'restricted'],
      undefined,
      'What the server learns of passwords: `hidden` where it only takes SCRAM, `plain` where it takes PLAIN.',
    ),
    data_retention: hours('How long messages and files are kept at most.'),
    data_deletion: opt.bool(undefined, 'Users can delete data of theirs.'),
    data_export: opt.bool(undefined, 'Users can get all their data.'),
    full_erasure: opt.bool(undefined, 'Users can delete their accounts with everything in them.'),
    encryption_at_rest: opt.bool(undefined, 'What lies on the disk is encrypted.'),
    access_policy: opt.list(
      opt.oneOf(
        ['admins', 'moderators', 'organization_member', 'government', 'advertisers', 'partners', 'none'],
        undefined,
      ),
      [],
      'Who else can see the data of users.',
    ),
    backup_frequency: opt.duration(undefined, 'How often backups are made; 0 for never.'),
    backup_retention: hours('How long backups are kept.'),
    tos: opt.text(undefined, 'Link to the terms of service.', {
      check: text => URL.canParse(text),
      words: 'a link',
      example: 'https://example.org/terms',
    }),
    extra_info: opt.text(undefined, 'What else users should know.'),
  },
  start(ctx) {
    const { options } = ctx
    const fields: FormField[] = []
    const add = (name: string, type: string, values: readonly string[]): void => {
      fields.push({ var: name, type, values })
    }
    if (options.auth_data !== undefined) add('auth_data', 'list-single', [options.auth_data])
    for (const name of ['data_retention', 'backup_frequency', 'backup_retention'] as const) {
      const ms = options[name]
      if (ms !== undefined) add(name, 'text-single', [ms === Infinity ? 'infinite' : String(Math.ceil(ms / HOUR))])
    }
    for (const name of ['data_deletion', 'data_export', 'full_erasure', 'encryption_at_rest'] as const) {
      const value = options[name]
      if (value !== undefined) add(name, 'boolean', [String(value)])
    }
    if (options.access_policy.length > 0) add('access_policy', 'list-multi', options.access_policy)
    if (options.tos !== undefined) add('tos', 'text-single', [options.tos])
    if (options.extra_info !== undefined) add('extra_info', 'text-multi', options.extra_info.split('\n'))
    if (fields.length > 0) ctx.form(NS.DATA_POLICY, fields)
  },
})
