'use strict'

// A server for components (XEP-0114), which sends back what they say.
const xmpp = require('node-xmpp-server-compat')

function startServer(options) {
  const server = new xmpp.ComponentServer({ port: 5347, ...options })

  server.on('connect', component => {
    // First whether there is such a component at all, and its secret; the secret is compared for you.
    component.on('verify-component', (jid, cb) => {
      if (jid.toString() === 'component.example.com') cb(null, 'ThePassword')
      else cb('Unauthorized')
    })

    component.on('online', () => {
      console.log('online', component.jid.toString())
    })

    component.on('stanza', stanza => {
      console.log('stanza', stanza.root().toString())
      // Here it could go to a client of a C2SServer.
      const { from } = stanza.attrs
      stanza.attrs.from = stanza.attrs.to
      stanza.attrs.to = from
      component.send(stanza)
    })

    component.on('disconnect', () => {
      console.log('disconnect')
    })
  })

  return server
}

module.exports = startServer

if (require.main === module) startServer().on('listening', () => console.log('listening'))
