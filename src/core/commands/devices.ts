import { Slot } from '../session.ts'
import { arg, type Command, CommandError, defineCommand, type TableRow } from './command.ts'
import { existing, type ServerControl } from './servercontrol.ts'

/** One of an account's clients, as it has said who it is (XEP-0388 2.3, `<user-agent/>`). Times are ms since 1970. */
export interface Device {
  /** The client's own name for its installation, a UUID. It is shown to nobody but the user and administrators. */
  readonly id: string
  readonly software: string | undefined
  readonly device: string | undefined
  readonly firstSeen: number
  /** When it last logged in. */
  readonly lastSeen: number
  readonly ip: string
  readonly mechanism: string
  /** Tokens (XEP-0484) that would let it in. */
  readonly tokens: number
}

/** The devices of a host's accounts. */
export interface DeviceList {
  /** Those of an account, the one seen last first. */
  list(user: string): Promise<Device[]>
  /** Forgets a device: its tokens are void and its sessions end. False if the account has no such device. */
  revoke(user: string, id: string): Promise<boolean>
}

declare module '../services.ts' {
  interface ServiceMap {
    devices: DeviceList
  }
}

/** On sessions whose client has said which device it is: the id of it. */
export const DEVICE = new Slot<string>('device')

export function deviceCommands(server: ServerControl): Command[] {
  return [
    defineCommand({
      name: 'list_devices',
      summary: 'Lists the clients that an account has logged in with, the last one first.',
      args: { account: arg.account('The account') },
      columns: ['id', 'software', 'device', 'first_seen', 'last_seen', 'ip', 'mechanism', 'tokens', 'sessions'],
      async run({ account }) {
        const { host, user } = await existing(server, account)
        const sessions = [...(host.accounts.get(user)?.sessions.values() ?? [])]
        const devices = (await host.services.use('devices')?.list(user)) ?? []
        return devices.map((device): TableRow => {
          const { id, software, tokens, ip, mechanism } = device
          return {
            id,
            software: software ?? '',
            device: device.device ?? '',
            first_seen: new Date(device.firstSeen).toISOString(),
            last_seen: new Date(device.lastSeen).toISOString(),
            ip,
            mechanism,
            tokens,
            sessions: sessions.filter(session => session.slots.get(DEVICE) === id).length,
          }
        })
      },
    }),
    defineCommand({
      name: 'revoke_device',
      summary:
        'Logs a client of an account out: its tokens are deleted and its sessions end. A password still lets it in.',
      args: { account: arg.account('The account'), id: arg.text('The device, as list_devices names it') },
      example: 'revoke_device alice@localhost d4565fa7-4d72-4749-b3d3-740edbf87770',
      async run({ account, id }) {
        const { host, user, jid } = await existing(server, account)
        if (await host.services.use('devices')?.revoke(user, id)) return `${id} is logged out`
        throw new CommandError('not_found', `${jid} has no device ${id}; see list_devices ${jid}`)
      },
    }),
  ]
}
