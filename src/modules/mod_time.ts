import { defineModule } from '../core/module.ts'
import { NS, xml } from '../xml/index.ts'

export const mod_time = defineModule({
  name: 'mod_time',
  xep: { number: 202, version: '2.0', name: 'Entity Time' },
  summary: 'Tells what time it is at the server.',
  options: {},
  start(ctx) {
    ctx.feature(NS.TIME)
    ctx.iq('server', 'get', NS.TIME, 'time', () => {
      const now = new Date(ctx.now())
      return xml('time', { xmlns: NS.TIME }, xml('tzo', {}, offset(now)), xml('utc', {}, now.toISOString()))
    })
  },
})

/** XEP-0082 3.2: `+02:00`; UTC is `Z`. */
function offset(at: Date): string {
  const minutes = -at.getTimezoneOffset()
  if (minutes === 0) return 'Z'
  const two = (n: number) => String(Math.floor(Math.abs(n))).padStart(2, '0')
  return `${minutes < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`
}
