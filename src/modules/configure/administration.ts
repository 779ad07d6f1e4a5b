import { type AdHocAnswer, type AdHocCommand, type AdHocDone, type AdHocNote, runCommand } from '../../core/adhoc.ts'
import type { CommandResult } from '../../core/commands/command.ts'
import type { Host } from '../../core/host.ts'
import type { ModuleContext } from '../../core/module.ts'
import { NS } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { dataForm, type FormField } from '../../xmpp/forms.ts'
import type { Jid } from '../../xmpp/jid.ts'

declare module '../../core/services.ts' {
  interface ServiceMap {
    /** Administers this host, by its own rule. */
    administration: { allows(from: Jid): boolean }
  }
}

/** What the commands of XEP-0133 have in common: who may run them, and the declared commands that do the work. */
export class Administration {
  readonly ctx: ModuleContext
  readonly #access: string

  constructor(ctx: ModuleContext, access: string) {
    this.ctx = ctx
    this.#access = access
    ctx.provide('administration', { allows: from => ctx.allowed(access, from) })
  }

  /** A command of this host's administrators. `node` is what follows the `#`. */
  command(node: string, name: string, execute: (from: Jid) => AdHocAnswer | Promise<AdHocAnswer>): AdHocCommand {
    return this.#make(node, name, from => this.ctx.allowed(this.#access, from), execute)
  }

  /** A command that reaches the whole server: only for who administers all of its hosts. */
  serverCommand(node: string, name: string, execute: () => AdHocAnswer | Promise<AdHocAnswer>): AdHocCommand {
    const allowed = (from: Jid) => [...this.ctx.host.router.hosts.values()].every(host => this.#administers(from, host))
    return this.#make(node, name, allowed, execute)
  }

  #make(
    node: string,
    name: string,
    allowed: (from: Jid) => boolean,
    execute: (from: Jid) => AdHocAnswer | Promise<AdHocAnswer>,
  ): AdHocCommand {
    return {
      node: `${NS.ADMIN}#${node}`,
      name,
      allowed,
      execute: from => {
        this.ctx.log.info({ command: node, by: from.toString() }, 'an administrator runs a command')
        return execute(from)
      },
    }
  }

  /** Throws `forbidden` where an account administers hosts that `from` does not: whoever has it would have those too. */
  mustReach(from: Jid, { bare }: Jid): void {
    for (const host of this.ctx.host.router.hosts.values()) {
      if (this.#administers(bare, host) && !this.#administers(from, host)) {
        throw new StanzaError('forbidden', `${bare} administers ${host.name}, and you do not`)
      }
    }
  }

  /** A host that does not run this module goes by the rule that is the default of all. */
  #administers(jid: Jid, host: Host): boolean {
    return host.services.use('administration')?.allows(jid) ?? this.ctx.allowed('configure', jid, host.name)
  }

  /** Runs a declared command. */
  run(name: string, args: Readonly<Record<string, string>>): Promise<CommandResult> {
    return runCommand(this.ctx.commands, name, args)
  }
}

export function one(type: AdHocNote['type'], text: string): AdHocDone {
  return { notes: [{ type, text }] }
}

/** A result of XEP-0133. */
export function result(fields: readonly FormField[], notes: readonly AdHocNote[] = []): AdHocDone {
  return { payload: dataForm('result', NS.ADMIN, fields), notes }
}
