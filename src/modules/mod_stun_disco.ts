import { createHash, createHmac } from 'node:crypto'
import { type Options, opt } from '../config/schema.ts'
import type { IqRequest } from '../core/iq.ts'
import { defineModule } from '../core/module.ts'
import { type Element, elementNs, findChild, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'

const SERVICE = {
  host: opt.required(opt.text(undefined, 'Its name or address.', { pattern: /^\S{1,255}$/, words: 'a host' })),
  port: opt.port(undefined, 'Left out: 3478, with TLS 5349.'),
  type: opt.oneOf(['stun', 'stuns', 'turn', 'turns'], 'stun', 'What it is; with `s` over TLS.'),
  transport: opt.oneOf(['udp', 'tcp'], undefined, 'Left out: udp, with TLS tcp.'),
  restricted: opt.bool(undefined, 'It wants a name and a password; left out: TURN does, STUN does not.'),
  secret: opt.secret('Shared with this service, where it is not the one of all.'),
}
type Service = Options<typeof SERVICE>

export const mod_stun_disco = defineModule({
  name: 'mod_stun_disco',
  xep: { number: 215, version: '1.0.0', name: 'External Service Discovery' },
  summary: 'Tells clients where the STUN and TURN servers are that calls need, with passwords that expire.',
  optional: true,
  options: {
    access: opt.access('local', 'Who is told.'),
    credentials_lifetime: opt.duration('12h', 'How long a password is good.', { min: 60_000 }),
    secret: opt.secret(
      'Shared with the TURN servers: `static-auth-secret` of coturn. Passwords are made from it (TURN REST API).',
      { example: 'the secret in turnserver.conf' },
    ),
    services: opt.list(opt.object(SERVICE), [], 'The servers.', {
      example: [
        { host: 'turn.example.org', type: 'stun' },
        { host: 'turn.example.org', type: 'turn' },
      ],
    }),
  },
  start(ctx) {
    const { access, credentials_lifetime: lifetime, services, secret } = ctx.options
    for (const service of services) {
      if (isRestricted(service) && (service.secret ?? secret) === undefined) {
        ctx.log.warn({ host: service.host }, 'no secret is given for this service: clients get no password for it')
      }
    }
    const credentials = (service: Service, jid: Jid): Record<string, string> => {
      const shared = (service.secret ?? secret)?.reveal()
      if (!isRestricted(service) || shared === undefined) return {}
      const expires = Math.floor((ctx.now() + lifetime) / 1000)
      // Whose it is can be told by who knows the secret; the address itself is not the TURN server's business.
      const who = createHash('sha256').update(`${shared}\0${jid.bare}`).digest('hex').slice(0, 16)
      const username = `${expires}:${who}`
      return {
        username,
        password: createHmac('sha1', shared).update(username).digest('base64'),
        expires: new Date(expires * 1000).toISOString().replace('.000', ''),
      }
    }
    const describe = (service: Service, jid: Jid): Element =>
      xml('service', {
        type: service.type,
        host: service.host,
        port: String(portOf(service)),
        transport: service.transport ?? (overTls(service) ? 'tcp' : 'udp'),
        restricted: isRestricted(service) ? 'true' : undefined,
        ...credentials(service, jid),
      })
    const check = ({ from }: IqRequest): void => {
      if (!ctx.allowed(access, from)) throw new StanzaError('forbidden')
    }

    for (const ns of [NS.EXTDISCO, NS.EXTDISCO1]) {
      ctx.feature(ns)
      ctx.iq('server', 'get', ns, 'services', request => {
        check(request)
        const { type } = request.payload.attrs
        const wanted = services.filter(service => type === undefined || service.type === type)
        return xml('services', { xmlns: ns, type }, ...wanted.map(service => describe(service, request.from)))
      })
      ctx.iq('server', 'get', ns, 'credentials', request => {
        check(request)
        const found = wantedOf(request.payload, services).map(service => describe(service, request.from))
        const usable = found.filter(({ attrs }) => attrs['password'] !== undefined)
        if (usable.length === 0) throw new StanzaError('item-not-found', 'there is no password for such a service')
        return xml('credentials', { xmlns: ns }, ...usable)
      })
    }
  },
})

/** XEP-0215 3.3: host and type, and the port where several differ only in it. */
function wantedOf(credentials: Element, services: readonly Service[]): Service[] {
  const asked = findChild(credentials, 'service', elementNs(credentials))?.attrs
  const { host, type, port } = asked ?? {}
  if (host === undefined || type === undefined)
    throw new StanzaError('bad-request', 'name the host and type of a service')
  return services.filter(
    service =>
      service.host.toLowerCase() === host.toLowerCase() &&
      service.type === type &&
      (port === undefined || Number(port) === portOf(service)),
  )
}

function overTls({ type }: Service): boolean {
  return type === 'stuns' || type === 'turns'
}

function portOf(service: Service): number {
  return service.port ?? (overTls(service) ? 5349 : 3478)
}

function isRestricted({ type, restricted }: Service): boolean {
  return restricted ?? type.startsWith('turn')
}
