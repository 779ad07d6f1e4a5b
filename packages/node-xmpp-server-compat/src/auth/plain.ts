import { NS, xml } from 'hermod/engine'
import type { Session } from '../c2s/session.ts'
import type { Stanza } from '../elements.ts'
import { Mechanism, type User } from './mechanism.ts'

/** SASL PLAIN (RFC 4616): `authzid NUL authcid NUL password`. */
export class Plain extends Mechanism {
  static id = 'PLAIN'

  override extractSasl(message: string): User {
    const [authzid, username, password] = message.split('\0')
    return { username, password, ...(authzid && { authzid }) }
  }

  override manageAuth(stanza: Stanza, session: Session): void | Promise<void> {
    // Without an initial response the client waits to be asked (RFC 6120 6.4.2).
    if (stanza.name === 'auth' && stanza.getText() === '') {
      session.send(xml('challenge', { xmlns: NS.SASL }))
    } else return super.manageAuth(stanza, session)
  }
}

/** Google's X-OAUTH2: `NUL address NUL token`. */
export class XOAuth2 extends Mechanism {
  static id = 'X-OAUTH2'

  override extractSasl(message: string): User {
    const [, jid, token] = message.split('\0')
    return { jid, oauth_token: token }
  }
}

Object.assign(Plain.prototype, { name: Plain.id })
Object.assign(XOAuth2.prototype, { name: XOAuth2.id })
