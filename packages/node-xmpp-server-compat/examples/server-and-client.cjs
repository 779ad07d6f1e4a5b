'use strict'

// Clients over TCP. Whoever knows the password gets back what they say.
const xmpp = require('node-xmpp-server-compat')

function startServer(options) {
  const server = new xmpp.C2S.TCPServer({ port: 5222, domain: 'localhost', ...options })

  // For each client that connects.
  server.on('connection', client => {
    // Somebody wants an account: keep it wherever you like.
    client.on('register', (opts, cb) => {
      console.log('register', opts.username)
      cb(true)
    })

    // Is it so? Look it up wherever you like.
    client.on('authenticate', (opts, cb) => {
      console.log('authenticate', opts.username)
      if (opts.password === 'secret') cb(null, opts)
      else cb(false)
    })

    client.on('online', () => {
      console.log('online', client.jid.local)
    })

    client.on('stanza', stanza => {
      console.log('stanza', client.jid.local, stanza.toString())
      const { from } = stanza.attrs
      stanza.attrs.from = stanza.attrs.to
      stanza.attrs.to = from
      client.send(stanza)
    })

    client.on('disconnect', () => {
      console.log('disconnect', client.jid?.local)
    })
  })

  return server
}

module.exports = startServer

if (require.main === module) {
  const server = startServer()
  server.on('listening', () => console.log('listening on port', server.port))
}
