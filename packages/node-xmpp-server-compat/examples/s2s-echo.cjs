'use strict'

// Other servers: what is said to whoever at nodexmpp.com comes back. With a key and a certificate of that domain
// (`node s2s-echo.cjs KEY.pem CERTIFICATE.pem`) they know it by these, without by dialback.
const xmpp = require('node-xmpp-server-compat')

function startRouter({ port, host, key, cert, ca, ...options } = {}) {
  const router = new xmpp.Router(port, host, options)
  if (key) {
    router.loadCredentials('nodexmpp.com', key, cert, ca)
    router.addSecureDomain('nodexmpp.com')
  }

  router.register('nodexmpp.com', stanza => {
    console.log('stanza', stanza.toString())
    if (stanza.attrs.type === 'error') return // never answered
    const me = stanza.attrs.to
    stanza.attrs.to = stanza.attrs.from
    stanza.attrs.from = me
    router.send(stanza)
  })

  return router
}

module.exports = startRouter

if (require.main === module) {
  const { readFileSync } = require('node:fs')
  const [, , keyPath, certPath] = process.argv
  const own = keyPath ? { key: readFileSync(keyPath, 'utf8'), cert: readFileSync(certPath, 'utf8') } : {}
  const router = startRouter(own)
  const { parse } = xmpp.ltx
  router.send(
    parse(
      "<message to='mu@example.com' from='juliet@nodexmpp.com/balcony' type='chat'><body>Wherefore art thou, mu?</body></message>",
    ),
  )
}
