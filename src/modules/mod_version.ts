import { release, type } from 'node:os'
import { opt } from '../config/schema.ts'
import { defineModule } from '../core/module.ts'
import { VERSION } from '../version.ts'
import { NS, xml } from '../xml/index.ts'

export const mod_version = defineModule({
  name: 'mod_version',
  xep: { number: 92, version: '1.1', name: 'Software Version' },
  summary: 'Tells which software, and which version of it, the server runs.',
  options: {
    show_os: opt.bool(false, 'Tell the operating system too.'),
    show_version: opt.bool(true, 'Tell the version; where false, it is given as `unknown`.'),
  },
  start(ctx) {
    const { show_os: showOs, show_version: showVersion } = ctx.options
    ctx.feature(NS.VERSION)
    ctx.iq('server', 'get', NS.VERSION, 'query', () =>
      xml(
        'query',
        { xmlns: NS.VERSION },
        xml('name', {}, 'hermod'),
        xml('version', {}, showVersion ? VERSION : 'unknown'),
        showOs && xml('os', {}, `${type()} ${release()}`),
      ),
    )
  },
})
