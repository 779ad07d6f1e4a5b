import { xml } from '../../../xml/index.ts'
import { Stanza } from '../../../xmpp/stanza.ts'
import { onlineAccounts } from '../../people.ts'
import { arg, type Command, CommandError, defineCommand } from '../command.ts'
import { failing } from '../result.ts'
import type { ServerControl } from './control.ts'

/** Longer than a day is a mistake in the unit. */
const DELAY = { min: 0, max: 86_400 }

export function leavingCommands(server: ServerControl): Command[] {
  let planned: NodeJS.Timeout | undefined
  /** In `delay` seconds; what was planned before no longer counts. */
  const plan = (delay: number, announcement: string | undefined, leave: () => void): void => {
    if (announcement !== undefined && announcement !== '') announce(server, announcement)
    clearTimeout(planned)
    planned = setTimeout(leave, delay * 1000)
    planned.unref()
  }
  return [
    defineCommand({
      name: 'stop_kindly',
      summary: 'Tells everybody who is online, and stops the server after a while.',
      args: { delay: arg.int('Seconds to wait', DELAY), announcement: arg.text('What people are told') },
      example: "stop_kindly 60 'The server stops in a minute.'",
      run({ delay, announcement }) {
        plan(delay, announcement, () => server.leaveSoon('stop'))
        return `stopping in ${delay} s; to go on after all: stop_cancel`
      },
    }),
    defineCommand({
      name: 'restart',
      summary:
        'Starts the server again, at once or after a while, with the configuration and the code, of modules too, as they are then. Sessions can be resumed.',
      args: {
        delay: arg.int('Seconds to wait; default none', { ...DELAY, optional: true }),
        announcement: arg.text('What people who are online are told', { optional: true }),
      },
      async run({ delay = 0, announcement }) {
        await failing(server.checkConfig(), 'not restarted, for the server would not start again: ')
        plan(delay, announcement, () => server.leaveSoon('restart'))
        return delay === 0 ? 'restarting' : `restarting in ${delay} s; to go on after all: stop_cancel`
      },
    }),
    defineCommand({
      name: 'stop_cancel',
      summary: 'Calls off a stop or restart that waits.',
      args: {},
      run() {
        if (planned === undefined) throw new CommandError('not_found', 'nothing is planned')
        clearTimeout(planned)
        planned = undefined
        return 'called off'
      },
    }),
  ]
}

function announce(server: ServerControl, body: string): void {
  for (const host of server.hosts) {
    for (const account of onlineAccounts(host)) {
      const message = xml('message', { type: 'headline', id: host.ids.random() }, xml('body', {}, body))
      void host.router.route(Stanza.make(message, host.jid, account.jid))
    }
  }
}
