import { randomBytes } from 'node:crypto'
import { Mechanism, type User } from './mechanism.ts'

/** SASL ANONYMOUS (RFC 4505): whoever comes gets a name of 32 hexadecimal digits. */
export class Anonymous extends Mechanism {
  static id = 'ANONYMOUS'

  override extractSasl(): User {
    return { username: randomBytes(16).toString('hex') }
  }
}

Object.assign(Anonymous.prototype, { name: Anonymous.id })
