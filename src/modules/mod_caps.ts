import { opt } from '../config/schema.ts'
import { defineModule } from '../core/module.ts'
import { childElements, type Element, NS, xml } from '../xml/index.ts'
import { verificationString } from '../xmpp/caps.ts'

export const mod_caps = defineModule({
  name: 'mod_caps',
  xep: { number: 115, version: '1.6.0' },
  summary: 'Tells clients at login, in one hash, what the server can do, so that they need not ask each time.',
  options: {
    node: opt.text('urn:hermod:server', 'The URI that names the software; clients cache by it.', { maxLength: 256 }),
  },
  start(ctx) {
    const { node } = ctx.options
    ctx.feature(NS.CAPS)

    let cached: { query: Element; ver: string } | undefined
    const current = (): { query: Element; ver: string } | undefined => {
      const query = ctx.use('disco')?.info('server')
      if (query === undefined) return undefined
      if (cached?.query !== query) cached = { query, ver: verificationString(query) }
      return cached
    }

    // XEP-0115 6.3; as a hook because there is nothing to offer while no module answers disco.
    ctx.hook('stream_features', event => {
      const ver = event.authenticated ? current()?.ver : undefined
      if (ver !== undefined) event.features.push(xml('c', { xmlns: NS.CAPS, hash: 'sha-1', node, ver }))
    })

    ctx.hook('disco_info', event => {
      if (event.scope !== 'server' || !event.node.startsWith(`${node}#`)) return
      const now = current()
      if (now !== undefined && event.node === `${node}#${now.ver}`) event.answer = childElements(now.query)
    })
  },
})
