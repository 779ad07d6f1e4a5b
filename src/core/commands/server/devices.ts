import { DEVICE } from '../../devices.ts'
import { arg, type Command, CommandError, defineCommand } from '../command.ts'

export function deviceCommands(): Command[] {
  return [
    defineCommand({
      name: 'list_devices',
      summary: 'Lists the clients that an account has logged in with, the last one first.',
      args: { account: arg.account('The account') },
      returns: {
        id: 'text',
        software: 'text',
        device: 'text',
        first_seen: 'time',
        last_seen: 'time',
        ip: 'text',
        mechanism: 'text',
        tokens: 'int',
        sessions: 'int',
      },
      async run({ account: { host, user, sessions } }) {
        const devices = (await host.services.use('devices')?.list(user)) ?? []
        return devices.map(({ firstSeen, lastSeen, ...device }) => ({
          ...device,
          software: device.software ?? '',
          device: device.device ?? '',
          first_seen: firstSeen,
          last_seen: lastSeen,
          sessions: [...sessions.values()].filter(session => session.slots.get(DEVICE) === device.id).length,
        }))
      },
    }),
    defineCommand({
      name: 'revoke_device',
      summary:
        'Logs a client of an account out: its tokens are deleted and its sessions end. A password still lets it in.',
      args: { account: arg.account('The account'), id: arg.text('The device, as list_devices names it') },
      example: 'revoke_device alice@localhost d4565fa7-4d72-4749-b3d3-740edbf87770',
      async run({ account: { host, user, jid }, id }) {
        if (await host.services.use('devices')?.revoke(user, id)) return `${id} is logged out`
        throw new CommandError('not_found', `${jid} has no device ${id}; see list_devices ${jid}`)
      },
    }),
  ]
}
