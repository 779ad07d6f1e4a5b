import { defineModule, opt, StanzaError, xml } from 'hermod'

const NS = 'urn:example:hello'

/** Answers <hello xmlns='urn:example:hello' name='Alice'/> with a greeting. */
export const hello = defineModule({
  name: 'mod_hello',
  summary: 'Greets whoever asks.',
  options: {
    greeting: opt.text('Hello', 'The word before the name.'),
  },
  start(ctx) {
    const greeted = ctx.counter('hello_total', 'Greetings given')
    ctx.feature(NS)
    ctx.iq('server', 'get', NS, 'hello', ({ payload }) => {
      const { name } = payload.attrs
      if (name === undefined) throw new StanzaError('bad-request', 'whom to greet is missing: name')
      greeted.value++
      return xml('hello', { xmlns: NS }, `${ctx.options.greeting}, ${name}!`)
    })
  },
})
