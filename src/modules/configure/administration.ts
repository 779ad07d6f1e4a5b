import type { Opt } from '../../config/schema.ts'
import { type AdHocAnswer, type AdHocCommand, type AdHocDone, type AdHocNote, runCommand } from '../../core/adhoc.ts'
import { administers, mayRun } from '../../core/commands/access.ts'
import type { CommandResult } from '../../core/commands/command.ts'
import type { ModuleContext } from '../../core/module.ts'
import { NS } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { dataForm, type FormField } from '../../xmpp/forms.ts'
import type { Jid } from '../../xmpp/jid.ts'

type Ctx = ModuleContext<{ access: Opt<string> }>

/** What the commands of XEP-0133 have in common: who may run them, and the declared commands that do the work. */
export class Administration {
  readonly ctx: Ctx

  constructor(ctx: Ctx) {
    this.ctx = ctx
  }

  /** For administrators of this host, or those who may run `declared`, which it runs. `node` is what follows the `#`. */
  command(
    node: string,
    name: string,
    execute: (from: Jid) => AdHocAnswer | Promise<AdHocAnswer>,
    declared?: string,
  ): AdHocCommand {
    const { ctx } = this
    return {
      node: `${NS.ADMIN}#${node}`,
      name,
      allowed(from) {
        if (declared === undefined) return administers(ctx, from, ctx.host)
        const command = ctx.commands.get(declared)
        return command !== undefined && mayRun(ctx, command, from)
      },
      execute(from) {
        ctx.log.info({ command: node, by: from.toString() }, 'an administrator runs a command')
        return execute(from)
      },
    }
  }

  /** Throws `forbidden` where an account administers hosts that `from` does not: whoever has it would have those too. */
  mustReach(from: Jid, { bare }: Jid): void {
    for (const host of this.ctx.host.router.hosts.values()) {
      if (administers(this.ctx, bare, host) && !administers(this.ctx, from, host)) {
        throw new StanzaError('forbidden', `${bare} administers ${host.name}, and you do not`)
      }
    }
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
