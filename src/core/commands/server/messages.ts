import { type Element, parseElement, XmlError, xml } from '../../../xml/index.ts'
import type { Jid } from '../../../xmpp/jid.ts'
import { isStanzaName, Stanza } from '../../../xmpp/stanza.ts'
import { arg, type Command, CommandError, defineCommand } from '../command.ts'
import { names, type ServerControl } from './control.ts'

export function messageCommands(server: ServerControl): Command[] {
  return [
    defineCommand({
      name: 'send_message',
      summary: 'Sends a message in the name of a host or of one of its accounts.',
      args: {
        type: arg.text('Kind of message', { values: ['chat', 'normal', 'headline'] }),
        from: arg.jid('Sender'),
        to: arg.jid('Recipient'),
        body: arg.text('What it says'),
      },
      example: "send_message chat localhost alice@localhost 'Maintenance at noon'",
      async run({ type, from, to, body }) {
        const id = server.hosts[0]!.ids.random()
        await send(server, xml('message', { type, id }, xml('body', {}, body)), from, to)
        return 'sent'
      },
    }),
    defineCommand({
      name: 'send_stanza',
      summary: 'Routes a stanza as given, in the name of a host or of one of its accounts.',
      args: { from: arg.jid('Sender'), to: arg.jid('Recipient'), stanza: arg.xml('The stanza') },
      example: "send_stanza localhost alice@localhost '<message><body>Hi</body></message>'",
      async run({ from, to, stanza }) {
        let el: Element
        try {
          el = parseElement(stanza)
        } catch (error) {
          if (error instanceof XmlError)
            throw new CommandError('usage', `that is not well-formed XML: ${error.message}`)
          throw error
        }
        if (!isStanzaName(el.name)) throw new CommandError('usage', 'a stanza is <message/>, <presence/> or <iq/>')
        await send(server, el, from, to)
        return 'sent'
      },
    }),
    defineCommand({
      name: 'get_offline_count',
      summary: 'Counts the messages that wait for an account: queued, or in flight and not yet acknowledged.',
      args: { account: arg.account('The account') },
      returns: 'int',
      run: ({ account: { host, user } }) => host.queues.count(user),
    }),
  ]
}

async function send(server: ServerControl, el: Element, sender: Jid, to: Jid): Promise<void> {
  if (!server.router.hosts.has(sender.domain)) {
    throw new CommandError(
      'not_found',
      `the sender must be of a host served here (${names(server)}), not ${sender.domain}`,
    )
  }
  await server.router.route(Stanza.make(el, sender, to))
}
