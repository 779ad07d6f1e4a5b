'use strict'

// TLS, and a mechanism of one's own: `node tls.cjs KEY.pem CERTIFICATE.pem`.
const { inherits } = require('node:util')
const xmpp = require('node-xmpp-server-compat')

// A token that somebody else has given out, in place of a password.
function Token() {}
inherits(Token, xmpp.auth.Mechanism)
Token.prototype.name = 'X-TOKEN'
Token.id = 'X-TOKEN'
Token.prototype.extractSasl = auth => {
  const [username, token] = auth.split(':')
  return { username, token }
}

function startServer(options) {
  const server = new xmpp.C2SServer({ port: 5222, domain: 'localhost', ...options })
  server.registerSaslMechanism(Token)

  server.on('connect', client => {
    // An async listener may return its answer.
    client.on('authenticate', async user => {
      if (user.saslmech === Token.id) return user.token === 'open sesame' && user
      return user.password === 'secret' && user
    })
    client.on('online', () => {
      client.send(
        new xmpp.Message({ from: 'localhost', to: client.jid }).c('body').t(`You came by ${client.encryption}`),
      )
    })
    client.on('auth-success', () => {
      client.encryption = client.connection.isSecure ? 'TLS' : 'the open road'
    })
  })

  return server
}

module.exports = startServer

if (require.main === module) {
  const [, , keyPath, certPath] = process.argv
  startServer({ tls: { keyPath, certPath } })
}
