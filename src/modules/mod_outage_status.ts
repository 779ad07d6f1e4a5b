import { opt } from '../config/schema.ts'
import { defineModule } from '../core/module.ts'
import { NS } from '../xml/index.ts'

export const mod_outage_status = defineModule({
  name: 'mod_outage_status',
  xep: { number: 455, version: '0.4.0', name: 'Service Outage Status' },
  summary: 'Tells clients where to look when the server cannot be reached.',
  options: {
    external_status_addresses: opt.list(
      opt.text(undefined, '', {
        check: text => URL.canParse(text) && /^https?:/.test(text),
        words: 'a link to a JSON file',
        maxLength: 1024,
      }),
      [],
      'Links to files that say what is wrong, on a machine that does not fall with this one; XEP-0455 has their format.',
      { example: ['https://status.example.net/example.org.json'] },
    ),
  },
  start(ctx) {
    const { external_status_addresses: values } = ctx.options
    if (values.length > 0) ctx.form(NS.OUTAGE, [{ var: 'external-status-addresses', type: 'list-multi', values }])
  },
})
