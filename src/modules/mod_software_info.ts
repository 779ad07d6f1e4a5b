import { release, type } from 'node:os'
import { opt } from '../config/schema.ts'
import { defineModule } from '../core/module.ts'
import { VERSION } from '../version.ts'
import { NS } from '../xml/index.ts'

export const mod_software_info = defineModule({
  name: 'mod_software_info',
  xep: { number: 232, version: '0.3', name: 'Software Information' },
  summary: 'Tells which software the server runs along with its features, so that nobody has to ask separately.',
  options: {
    show_os: opt.bool(false, 'Tell the operating system too.'),
    show_version: opt.bool(true, 'Tell the version.'),
  },
  start(ctx) {
    const { show_os: showOs, show_version: showVersion } = ctx.options
    const field = (name: string, value: string) => ({ var: name, values: [value] })
    ctx.form(NS.SOFTWARE_INFO, [
      field('software', 'hermod'),
      ...(showVersion ? [field('software_version', VERSION)] : []),
      ...(showOs ? [field('os', type()), field('os_version', release())] : []),
    ])
  },
})
