import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type Config, resolveHost } from '../config/core.ts'
import type { Host } from '../core/host.ts'
import type { Server } from '../server.ts'

/** What the password of the first administrator lies in where there is no terminal to show it on. */
const PASSWORD_FILE = 'admin-password'

/**
 * On the first start of a data folder: an account for the administrator, and what to do next. Undefined from then on.
 * `ctl` is how hermodctl is called. The password is in the text only where that goes to a `terminal`: what goes elsewhere
 * is kept and read by others (journals, collectors of logs), so there it goes into a file for the server's user alone.
 */
export async function greeting(
  server: Server,
  config: Config,
  ctl: string,
  terminal: boolean,
): Promise<string | undefined> {
  const table = server.store.table<number>('', { name: 'greeted' })
  if ((await table.get(['first start'])) !== undefined) return undefined
  const host = server.hosts[0]!
  const file = path.resolve(config.data, PASSWORD_FILE)
  const own = resolveHost(config, host.name).auth_method.includes('internal')
  const account = own ? await firstAccount(host, ctl, file, terminal) : ELSEWHERE
  // Last, so that whoever was killed in between is still told how to get in.
  await table.put(['first start'], [], Date.now())
  return `
  hermod runs for ${config.hosts.join(', ')}. Everything it keeps is in ${config.data}.

  Clients connect to ${ports(server)}.${selfSigned(config)}

  ${account}

  Next: ${own ? 'make an account for somebody, and ' : ''}log in with any XMPP client:

${own ? `    ${ctl} register alice@${host.name}\n` : ''}    ${ctl} help
`
}

const ELSEWHERE =
  'Accounts are kept elsewhere (auth_method), so none was made. Who is to administer from a client is named in the acl `admin`.'

/** Makes it, and says how to get in. */
async function firstAccount(host: Host, ctl: string, file: string, terminal: boolean): Promise<string> {
  const admin = `admin@${host.name}`
  const change = `${ctl} change_password ${admin}`
  const there = `The account ${admin} was there already. To set its password:\n\n    ${change}`
  try {
    if (await host.users.exists('admin')) return there
  } catch (error) {
    // A source of accounts beside our own does not answer: no reason not to start.
    if (!(error instanceof Error) || error.name !== 'StanzaError') throw error
    return `No account was made for you: ${error.message.replace(/^[a-z-]+: /, '')}. To make one, later:\n\n    ${ctl} register ${admin}`
  }
  const password = randomBytes(12).toString('base64url')
  // Before the account is there: who is killed in between finds it, and the next start begins again.
  if (!terminal) {
    await rm(file, { force: true })
    await writeFile(file, `${password}\n`, { mode: 0o600, flag: 'wx', flush: true })
  }
  if (!(await host.users.create('admin', password))) {
    // Somebody was faster: it is not for us to make them an administrator.
    await rm(file, { force: true })
    return there
  }
  const admins = host.services.use('admins')
  // It may administer the host from its client too, unless that is not wanted (mod_configure: false).
  await admins?.appoint('admin')
  const made = `An account was made for you, ${admin}.${admins === undefined ? '' : ` It administers ${host.name}, from a client too: keep its password to yourself.`}`
  return terminal
    ? `${made} The password, shown only this once:

    ${password}

  To change it:

    ${change}`
    : `${made} The password is in a file that only this user can read; remove it when you have read it:

    ${file}

  To change it:

    ${change}`
}

function ports(server: Server): string {
  const words: Record<string, string> = { direct: 'direct TLS', off: 'no TLS' }
  return server
    .ports()
    .filter(p => p.module === 'c2s')
    .map(p => `port ${p.port} (${words[p.tls] ?? 'STARTTLS'})`)
    .join(' or ')
}

function selfSigned(config: Config): string {
  const configured = [...config.perHost.values()].some(host => host.certfiles.length > 0)
  return configured ? '' : ' The certificate is self-signed: clients will ask whether to trust it.'
}
