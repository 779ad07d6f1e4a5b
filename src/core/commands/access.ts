import type { Jid } from '../../xmpp/jid.ts'
import type { Host } from '../host.ts'
import type { ModuleContext } from '../module.ts'
import { accessOf, type Command } from './command.ts'

/** A module by which administrators run commands from their clients: each host has a rule of its own for it. */
interface Face extends Pick<ModuleContext, 'host' | 'allowed'> {
  optionsAt(host: string): { readonly access: string } | undefined
}

export function administers({ allowed, optionsAt }: Face, jid: Jid, { name }: Host): boolean {
  // A host that does not run the module is for those who administer it.
  return allowed(optionsAt(name)?.access ?? 'configure', jid, name)
}

export function administersAll(face: Face, jid: Jid): boolean {
  return [...face.host.router.hosts.values()].every(host => administers(face, jid, host))
}

/** Whether a command may be run for the host of the module, as its declaration has it. */
export function mayRun(face: Face, command: Command, jid: Jid): boolean {
  const access = accessOf(command)
  if (access === 'machine') return false
  return access === 'server' ? administersAll(face, jid) : administers(face, jid, face.host)
}
