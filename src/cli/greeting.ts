import { randomBytes } from 'node:crypto'
import type { Config } from '../config/core.ts'
import type { Server } from '../server.ts'

/**
 * On the first start of a data folder: an account for the administrator, and what to do next. Undefined from then on.
 * `ctl` is how hermodctl is called.
 */
export async function greeting(server: Server, config: Config, ctl: string): Promise<string | undefined> {
  const table = server.store.table<number>('', { name: 'greeted' })
  if ((await table.get(['first start'])) !== undefined) return undefined
  const host = server.hosts[0]!
  const admin = `admin@${host.name}`
  const password = randomBytes(12).toString('base64url')
  const made = await host.users.create('admin', password)
  // It may administer the host from its client too, unless that is not wanted (mod_configure: false).
  if (made) await host.services.use('admins')?.appoint('admin')
  // Last, so that whoever was killed in between is still told how to get in.
  await table.put(['first start'], [], Date.now())
  const account = made
    ? `An account was made for you, ${admin}. Its password, shown only this once:

    ${password}

  To change it:`
    : `The account ${admin} was there already. To set its password:`
  return `
  hermod runs for ${config.hosts.join(', ')}. Everything it keeps is in ${config.data}.

  Clients connect to ${ports(server)}.${selfSigned(config)}

  ${account}

    ${ctl} change_password ${admin}

  Next: make an account for somebody, and log in with any XMPP client:

    ${ctl} register alice@${host.name}
    ${ctl} help
`
}

function ports(server: Server): string {
  const words: Record<string, string> = { direct: 'direct TLS', off: 'no TLS' }
  return server
    .ports()
    .map(p => `port ${p.port} (${words[p.tls] ?? 'STARTTLS'})`)
    .join(' or ')
}

function selfSigned(config: Config): string {
  const configured = [...config.perHost.values()].some(host => host.certfiles.length > 0)
  return configured ? '' : ' The certificate is self-signed: clients will ask whether to trust it.'
}
