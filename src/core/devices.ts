import { Slot } from './session.ts'

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

declare module './services.ts' {
  interface ServiceMap {
    devices: DeviceList
  }
}

/** On sessions whose client has said which device it is: the id of it. */
export const DEVICE = new Slot<string>('device')
