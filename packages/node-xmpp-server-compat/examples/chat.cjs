'use strict'

// Clients that talk with each other: what is said to an address goes to who is there.
const xmpp = require('node-xmpp-server-compat')

function startServer(options) {
  const server = new xmpp.C2SServer({ port: 5222, domain: 'localhost', ...options })
  const accounts = new Map([
    ['romeo', 'montague'],
    ['juliet', 'capulet'],
  ])
  const online = new Map()

  server.on('connect', client => {
    client.on('register', (opts, cb) => {
      if (accounts.has(opts.username)) {
        cb({ code: 409, type: 'cancel', condition: 'conflict', message: 'that name is taken' })
      } else {
        accounts.set(opts.username, opts.password)
        cb(null)
      }
    })

    client.on('authenticate', (opts, cb) => {
      if (accounts.get(opts.username) === opts.password) cb(null, opts)
      else cb(new Error('wrong name or password'))
    })

    // One client of each user: whoever comes later takes the place.
    client.on('bind', (resource, cb) => cb(null, resource ?? 'chat'))

    client.on('online', () => {
      const user = client.jid.bare().toString()
      online.get(user)?.end()
      online.set(user, client)
      client.send(new xmpp.Message({ from: 'localhost', to: client.jid }).c('body').t(`Welcome, ${client.jid.local}!`))
    })

    client.on('stanza', stanza => {
      if (!stanza.is('message') || stanza.type === 'error') return
      const to = online.get(new xmpp.JID(stanza.to).bare().toString())
      if (to) to.send(stanza)
      else {
        const error = new xmpp.Message({ from: stanza.to, to: stanza.from, id: stanza.id, type: 'error' })
        error.c('error', { type: 'wait' }).c('recipient-unavailable', { xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas' })
        client.send(error)
      }
    })

    client.on('disconnect', () => {
      const user = client.jid?.bare().toString()
      if (online.get(user) === client) online.delete(user)
    })
  })

  return server
}

module.exports = startServer

if (require.main === module) startServer()
