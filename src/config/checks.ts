/**
 * What the options of the server must be beyond their shapes. Values may be wrong ones, as written: what does not have the
 * right shape is passed over, somebody else has said so.
 */
import { accessSync, constants } from 'node:fs'
import { addressOf, type ListenConfig } from './core.ts'
import type { OptionPath, Problem } from './diagnostics.ts'
import { isDomain } from './schema.ts'
import { isMap, type RawMap } from './validate.ts'

export function checkHosts(value: unknown): Problem[] {
  const hosts = itemsOf(value)
  return hosts.flatMap((host, index) =>
    hosts.indexOf(host) < index ? [{ path: ['hosts', index], message: `${String(host)} is there twice` }] : [],
  )
}

export function checkListen(value: unknown, hosts: unknown): Problem[] {
  return [...checkPorts(value), ...checkComponents(value, textsOf(hosts))]
}

/** Domains of components: each once, and on a port for components. */
function checkComponents(value: unknown, hosts: readonly string[]): Problem[] {
  const taken = new Map(hosts.map(host => [host.toLowerCase(), 'is one of the hosts of this server']))
  return itemsOf(value).flatMap((listen, index) => {
    if (!isMap(listen)) return []
    const isFor = listen['module'] === 'component'
    const names = isMap(listen['hosts']) ? Object.keys(listen['hosts']) : []
    if (isFor && names.length === 0) {
      return [
        { path: ['listen', index, 'hosts'], message: 'wanted the domains of the components, each with its password' },
      ]
    }
    return names.flatMap(name => {
      const before = taken.get(name.toLowerCase())
      taken.set(name.toLowerCase(), `is a component of listen[${index}] already`)
      const message = !isFor ? 'means something for module: component only' : isDomain(name) ? before : 'is no domain'
      return message === undefined ? [] : [{ path: ['listen', index, 'hosts', name], atKey: true, message }]
    })
  })
}

function checkPorts(value: unknown): Problem[] {
  const sockets = itemsOf(value).map(listen =>
    isMap(listen) ? `${addressOf(listen as Pick<ListenConfig, 'ip' | 'module'>)} ${String(listen['port'])}` : '',
  )
  return sockets.flatMap((socket, index) => {
    const before = sockets.indexOf(socket)
    const free = socket === '' || socket.endsWith(' 0') || socket.endsWith(' undefined')
    if (free || before === index) return []
    return [{ path: ['listen', index, 'port'], message: `is taken by listen[${before}]` }]
  })
}

export function checkS2S(value: unknown): Problem[] {
  const file = isMap(value) ? value['ca_file'] : undefined
  const reason = typeof file === 'string' ? unreadable(file) : undefined
  return reason === undefined ? [] : [{ path: ['s2s', 'ca_file'], message: `cannot read ${String(file)}: ${reason}` }]
}

/** Of the top level or an overlay: access rules that decide, certificates and keys that can be read. */
export function checkHost(options: RawMap, base: OptionPath): Problem[] {
  const rules = isMap(options['access_rules']) ? Object.entries(options['access_rules']) : []
  const undecided = rules.flatMap(([name, lines]) =>
    itemsOf(lines).flatMap((line, index) => {
      const decides = !isMap(line) || (line['allow'] === undefined) !== (line['deny'] === undefined)
      return decides ? [] : [{ path: [...base, 'access_rules', name, index], message: 'wanted either allow or deny' }]
    }),
  )
  const unread = itemsOf(options['certfiles']).flatMap((certificate, index) =>
    ['cert', 'key'].flatMap(name => {
      const file = isMap(certificate) ? certificate[name] : undefined
      const reason = typeof file === 'string' ? unreadable(file) : undefined
      if (reason === undefined) return []
      return [{ path: [...base, 'certfiles', index, name], message: `cannot read ${String(file)}: ${reason}` }]
    }),
  )
  const jwtKey = options['jwt_key']
  const reason = typeof jwtKey === 'string' ? unreadable(jwtKey) : undefined
  if (reason === undefined) return [...undecided, ...unread]
  return [...undecided, ...unread, { path: [...base, 'jwt_key'], message: `cannot read ${String(jwtKey)}: ${reason}` }]
}

function itemsOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** The texts in a list. */
export function textsOf(value: unknown): string[] {
  return itemsOf(value).filter(item => typeof item === 'string')
}

function unreadable(file: string): string | undefined {
  try {
    accessSync(file, constants.R_OK)
    return undefined
  } catch (error) {
    return reasonOf(error)
  }
}

/** Why a file could not be read, in a few words. */
export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES') return 'permission denied'
  if (code === 'EISDIR') return 'it is a folder'
  return code ?? String(error)
}
