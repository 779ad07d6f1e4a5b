import { randomBytes } from 'node:crypto'
import type { Config } from '../config/core.ts'
import type { Server } from '../server.ts'

/** On the first start of a data folder: an account for the administrator, and what to do next. Silent from then on. */
export async function greet(server: Server, config: Config): Promise<void> {
  const host = server.hosts[0]!
  const table = server.store.table<number>('', { name: 'greeted' })
  if (!(await table.putIfAbsent(['first start'], [], Date.now()))) return
  const password = randomBytes(12).toString('base64url')
  const made = await host.users.create('admin', password)
  const ports = server.ports().map(p => `${p.port} (${p.tls === 'direct' ? 'direct TLS' : 'STARTTLS'})`)
  const account = made
    ? `An account was made for you, admin@${host.name}. Its password, shown only this once:

    ${password}

  You can change it:  npm run ctl -- change_password admin@${host.name}
`
    : `The account admin@${host.name} was there already.
`
  console.log(`
  hermod runs for ${config.hosts.join(', ')}. Everything it keeps is in ${config.data}.

  Clients connect to port ${ports.join(' or ')}.${
    config.perHost.get(host.name)!.certfiles.length === 0
      ? ' The certificate is self-signed: clients will ask whether to trust it.'
      : ''
  }
  ${account}
  Next: make an account for somebody, and log in with any XMPP client:

    npm run ctl -- register alice@${host.name}
    npm run ctl -- help
`)
}
