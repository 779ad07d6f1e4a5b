/**
 * The server's own options, in ejabberd's skeleton and words. `modules` and `host_config` are not in these records: what
 * may stand there depends on the modules (see load.ts).
 */
import { isIP } from 'node:net'
import { isNetwork } from './access.ts'
import { type Options, opt } from './schema.ts'

const USER = /^[^\s@/]{1,1023}@[^\s@/]{1,1023}$/

/** One component: an entry of `hosts` of a listener. */
const COMPONENT = {
  password: opt.required(
    opt.secret(
      'The secret that the component shares with the server: as text, or where it is: `{env: NAME}`, `{file: PATH}`.',
      {
        example: 'a long secret',
      },
    ),
  ),
  name: opt.text(undefined, 'What it is called among the items of its host (XEP-0030); left out, nothing.', {
    maxLength: 256,
    example: 'IRC',
  }),
  items_of: opt.list(
    opt.domain(),
    [],
    'The hosts among whose items it is while it is connected (XEP-0030); with none, the one that its domain lies below.',
    { example: ['example.org'] },
  ),
  access: opt.access(
    'all',
    'Who may reach it: the rule is asked for the sender of each stanza. Others are told `forbidden`.',
  ),
  conflict: opt.oneOf(
    ['closeold', 'closenew', 'balance'],
    'closeold',
    'When it logs in once more while it is connected: `closeold` ends the connection there is, `closenew` refuses the new one. `balance` keeps both: each gets what comes from its share of senders (by their bare addresses), and the same sender is always the same connection’s while it is there.',
  ),
  queue: opt.bool(
    true,
    'Messages wait for it, on the disk, until it has them: while it is away, and while it has not answered a ping that was sent after them. Otherwise they are sent if it is connected, and go back to their senders if not.',
  ),
  queue_lifetime: opt.duration('2d', 'How long a message waits for it; then it goes back to its sender.', {
    min: 1000,
  }),
  max_queue_messages: opt.int(10_000, 'Messages that wait for it at a time.', { min: 1, infinity: true }),
  max_queue_bytes: opt.size('64 MiB', 'Bytes of them.', { min: 10_000, infinity: true }),
  max_sender_messages: opt.int(1000, 'Messages of one user that wait for it at a time.', { min: 1, infinity: true }),
  max_sender_bytes: opt.size('8 MiB', 'Bytes of them.', { min: 10_000, infinity: true }),
}

/** One entry of `listen`. */
export const listenOptions = {
  port: opt.required(
    opt.port(
      undefined,
      'TCP port; 0 takes any free one, for `s2s` and `component` none: the entry is then as if not written.',
    ),
  ),
  ip: opt.text(
    undefined,
    'Address to listen on. `::` is every address, IPv4 too; `127.0.0.1` is this machine only. Left out, `::`, and `127.0.0.1` for `component`.',
    {
      check: text => isIP(text) !== 0,
      words: 'an IP address',
    },
  ),
  module: opt.oneOf(
    ['c2s', 's2s', 'component', 'http'],
    'c2s',
    'What is spoken there: `c2s` is XMPP with clients over TCP; `s2s` is XMPP with other servers, which has to be encrypted, and where `s2s` says who may come in; `component` is XMPP with gateways, bots and services, each with a domain of its own (XEP-0114), that `hosts` names; `http` is HTTP for files, where of the options below only `tls`, `pre_auth_timeout` (for the head of a request), `max_connections_per_ip` and `metrics` mean something.',
  ),
  tls: opt.bool(
    false,
    'Direct TLS: encrypted from the first byte, ALPN `xmpp-client` or `xmpp-server` (XEP-0368). Usual on ports 5223 and 5270.',
  ),
  starttls: opt.bool(
    undefined,
    'Offer STARTTLS, for `c2s` and `component`; left out, yes for `c2s` only, since few components can. Means nothing where `tls` is true.',
  ),
  starttls_required: opt.bool(
    undefined,
    'Refuse to go on without STARTTLS, where it is offered; left out, yes. Means nothing where `tls` is true.',
  ),
  use_proxy_protocol: opt.bool(
    false,
    'Expect a PROXY header (v1 or v2) first, from which the client address is taken. Only for ports that nobody but the proxy can reach.',
  ),
  max_stanza_size: opt.size(
    undefined,
    'Largest stanza from a client, server or component; announced by XEP-0478. Left out, 256 KiB, and 512 KiB from a server, which may have added to what its client sent.',
    { min: 10_000, example: '256 KiB' },
  ),
  max_depth: opt.int(64, 'Deepest nesting of elements in a stanza.', { min: 8, max: 1000 }),
  max_attributes: opt.int(64, 'Most attributes of one element.', { min: 8, max: 10_000 }),
  max_elements: opt.int(10_000, 'Most elements and texts in one stanza; before the login 250.', {
    min: 250,
    max: 1_000_000,
  }),
  pre_auth_timeout: opt.duration('30s', 'Time from connecting to being logged in; then the connection is closed.', {
    min: 1000,
    max: 3_600_000,
  }),
  pre_auth_bytes: opt.size('64 KiB', 'Bytes a client may send before it is logged in.', { min: 10_000 }),
  max_connections_per_ip: opt.int(200, 'Connections from one address at a time; of IPv6, from one /64.', {
    min: 1,
    infinity: true,
  }),
  metrics: opt.access(
    'none',
    'For `http`: from where `/metrics` (Prometheus), `/health` and `/ready` may be read on this port; `loopback` is this machine. A proxy in front of the port makes everybody one of this machine: then give them a port of their own.',
  ),
  keepalive_interval: opt.duration('5m', 'A silent connection gets a space this often, so that routers keep it open.', {
    min: 1000,
    infinity: true,
  }),
  shaper: opt.shaper(
    undefined,
    'How fast one client, server or component may send; left out, `normal`, `fast` for `s2s`, and `none` for `component`.',
  ),
  access: opt.access(
    'all',
    'Who may log in here, for `c2s`; for `component`, from where (the rule is asked for the address that it connects from).',
  ),
  hosts: opt.map(
    opt.object(COMPONENT),
    'For `component`: the domains of those that log in here, such as `irc.example.org`.',
  ),
}

/** One kind of `shaper`: token buckets. A client that is faster is read more slowly; nothing is dropped. */
const shaperOptions = {
  rate: opt.size('infinity', 'Bytes a second.', { min: 100, infinity: true }),
  burst_size: opt.size('1 MiB', 'Bytes at once, after a pause.', { min: 100, infinity: true }),
  stanza_rate: opt.int('infinity', 'Stanzas a second.', { min: 1, infinity: true }),
  stanza_burst: opt.int(1000, 'Stanzas at once, after a pause.', { min: 1, infinity: true }),
}

const aclOptions = {
  user: opt.list(opt.text(undefined, '', { pattern: USER, words: 'user@host' }), [], 'Accounts, as user@host.'),
  server: opt.list(opt.domain(), [], 'Every account of these domains.'),
  ip: opt.list(
    opt.text(undefined, '', { check: isNetwork, words: 'an address or network such as 10.0.0.0/8' }),
    [],
    'Addresses or networks that the client connects from.',
  ),
}

const accessRuleOptions = {
  allow: opt.acl(undefined, 'Yes, to whom this acl matches.'),
  deny: opt.acl(undefined, 'No, to whom this acl matches.'),
}

const CERTIFICATE = {
  cert: opt.required(opt.path(undefined, 'PEM file: the certificate, then its chain.')),
  key: opt.path(undefined, 'PEM file of the private key; left out, it is in `cert`.'),
}

const AUTH = {
  mechanisms: opt.list(
    opt.oneOf(['SCRAM-SHA-512', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'], undefined),
    ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'],
    'SASL mechanisms to offer, strongest first. The -PLUS variants come with them over TLS.',
    { minItems: 1 },
  ),
  scram_iterations: opt.int(10_000, 'PBKDF2 rounds for passwords set from now on.', { min: 4096, max: 10_000_000 }),
  plain_without_tls: opt.bool(
    false,
    'Take passwords in the clear on unencrypted connections. For tests on one machine only.',
  ),
  tls_unique_on_tls13: opt.bool(
    false,
    'Take the channel binding `tls-unique` on TLS 1.3 too, for which it is not defined (RFC 9266). For clients that know no other and give up where it is refused.',
  ),
  fast: opt.bool(true, 'Give clients tokens by which they log in next time, in one round trip (XEP-0484).'),
  token_lifetime: opt.duration('30d', 'How long a token lets its client in after it was given out.', {
    min: 60_000,
    max: 31_536_000_000,
  }),
  token_refresh_age: opt.duration('1d', 'A token of this age is replaced when it is used.', {
    max: 31_536_000_000,
  }),
  max_devices: opt.int(
    50,
    'Clients that are remembered of an account; one more, and the one unused for longest is forgotten.',
    { min: 1, max: 1000 },
  ),
}

const AUTH_HTTP = {
  url: opt.text(undefined, 'Where the service is; `/check_password` and `/user_exists` are appended.', {
    check: isHttpUrl,
    words: 'an http or https URL',
    example: 'https://accounts.example.org/xmpp',
  }),
  basic_auth: opt.secret('name:password that the service asks of us.'),
  timeout: opt.duration('5s', 'How long an answer may take.', { min: 100, max: 60_000 }),
  max_requests: opt.int(20, 'Requests of a kind at a time. Ten times as many wait; what is beyond fails.', {
    min: 1,
    max: 1000,
  }),
}

function isHttpUrl(text: string): boolean {
  const url = URL.parse(text)
  return (url?.protocol === 'http:' || url?.protocol === 'https:') && url.search === '' && url.hash === ''
}

function isAddressAndPort(text: string): boolean {
  const [, bracketed, ipv4, port = '53'] = /^(?:\[([^\]]+)\]|([\d.]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  return isIP(bracketed ?? ipv4 ?? text) !== 0 && Number(port) > 0 && Number(port) < 65_536
}

/** Options that may differ from host to host: at the top level for all, in `host_config` for one. */
export const hostOptions = {
  certfiles: opt.list(
    opt.object(CERTIFICATE, '', { short: 'cert' }),
    [],
    'TLS certificates; which serves which host follows from the names in them. Read again when the files change. With none, the server makes a self-signed one.',
    {
      example: [
        {
          cert: '/etc/letsencrypt/live/example.org/fullchain.pem',
          key: '/etc/letsencrypt/live/example.org/privkey.pem',
        },
      ],
    },
  ),
  auth: opt.object(AUTH, 'Logging in.'),
  auth_method: opt.list(
    opt.oneOf(['internal', 'jwt', 'http'], undefined),
    ['internal'],
    'Where accounts and passwords are looked up, one after the other: `internal` is the store of this server, `jwt` takes a signed token as password, `http` asks a web service. SCRAM is offered only if `internal` comes first.',
    { minItems: 1, example: ['jwt', 'internal'] },
  ),
  jwt_key: opt.path(
    undefined,
    'For `jwt`: file with the key that tokens are signed with: a JWK, a JWK Set, or a public key in PEM.',
    { example: '/etc/hermod/jwt.jwk' },
  ),
  jwt_jid_field: opt.text('jid', 'For `jwt`: the claim that has the address of the account, user@host.', {
    maxLength: 100,
  }),
  auth_http: opt.object(AUTH_HTTP, 'For `http`: the web service that knows the accounts.'),
  resource_conflict: opt.oneOf(
    ['closeold', 'closenew', 'acceptnew', 'setresource'],
    'closeold',
    'When a client binds a resource that is in use: `closeold` and `acceptnew` end the old session, `closenew` refuses the new one, `setresource` gives it another name.',
  ),
  max_user_sessions: opt.int(10, 'Sessions of one account at a time; one more ends the oldest.', {
    min: 1,
    infinity: true,
  }),
  resume_timeout: opt.duration('5m', 'How long a session whose connection broke may be resumed (XEP-0198).', {
    max: 86_400_000,
  }),
  max_ack_queue: opt.int(
    5000,
    'Stanzas a session keeps in memory until the client has acknowledged them. At the limit no more are sent; messages wait in the store.',
    { min: 10, max: 1_000_000 },
  ),
  ack_timeout: opt.duration('1m', 'A connection that does not answer an acknowledgement request for so long is dead.', {
    min: 1000,
    infinity: true,
  }),
  acl: opt.map(
    opt.object(aclOptions),
    'Names for groups of users, for `access_rules`. Who matches any line of one, is in it. Built in: `all`, `none`, `local` (accounts of this server), `loopback` (clients on this machine), and `admin`, which is nobody until you declare it.',
    { example: { admin: { user: ['admin@localhost'] }, office: { ip: ['10.0.0.0/8'] } } },
  ),
  access_rules: opt.map(
    opt.list(opt.object(accessRuleOptions)),
    'Names for decisions: the first line whose acl matches decides, and if none does the answer is no. Built in: `all`, `none`, `local`, `loopback`, and `configure` (who may administer the server from a client: the acl `admin`).',
    { example: { staff: [{ deny: 'none' }, { allow: 'loopback' }] } },
  ),
}

const S3 = {
  endpoint: opt.text('https://s3.amazonaws.com', 'Address of the S3 server.', {
    pattern: /^https?:\/\/[^\s/?#@]+\/?$/,
    words: 'an address such as https://s3.example.org or http://127.0.0.1:9000',
  }),
  region: opt.text('us-east-1', 'Region that the server is in; many take any.', { pattern: /^[a-zA-Z0-9_-]{1,64}$/ }),
  bucket: opt.text('hermod', 'Name of the bucket; made if it is absent.', {
    pattern: /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
    words: 'a name of 3 to 63 lower-case letters, digits, dots and hyphens',
  }),
  path_style: opt.bool(
    true,
    'Name the bucket in the path of requests rather than in the host name. Means nothing for Amazon’s own servers.',
  ),
  access_key: opt.secret('Access key: as text, or where it is: `{env: NAME}`, `{file: PATH}`.', { example: 'hermod' }),
  secret_key: opt.secret('Secret key: as text, or where it is: `{env: NAME}`, `{file: PATH}`.', {
    example: 'a long secret',
  }),
  public_url: opt.text(
    undefined,
    'Address at which anybody may read the bucket. Links then start with it and do not end; left out, they are signed and end.',
    { pattern: /^https?:\/\/[^\s]+$/, words: 'an address', example: 'https://pictures.example.org' },
  ),
  timeout: opt.duration('20s', 'A server that is silent for so long counts as gone.', { min: 100, max: 3_600_000 }),
}

const POLICIES = ['required', 'require_valid_certificate'] as const

const S2S = {
  enabled: opt.bool(
    true,
    'Whether there are other servers at all. Where it is false, and where no port of `listen` is for them (`module: s2s`), every domain that is not served here is unknown.',
  ),
  policy: opt.oneOf(
    POLICIES,
    'required',
    'How another server shows that it is who it says. `required`: over TLS, by a valid certificate or else by dialback (XEP-0220), for which its DNS has to be right. `require_valid_certificate`: by a valid certificate only.',
  ),
  access: opt.access(
    'all',
    'Which domains elsewhere may be talked with: the rule is asked for the domain, in both directions. For a list of them, an acl with `server`.',
  ),
  domains: opt.map(
    opt.object({ policy: opt.oneOf(POLICIES, undefined, 'The policy for this domain; left out, that of all.') }),
    'Exceptions, by domain elsewhere.',
    { example: { 'bank.example': { policy: 'require_valid_certificate' } } },
  ),
  ca_file: opt.path(
    undefined,
    'PEM file of authorities that certificates of other servers may come from, beside those of the system (where it has none, Node’s own). A certificate of a server itself may stand in it too, and is then trusted as it is. Read again when the file changes.',
    { example: '/etc/hermod/ca.pem' },
  ),
  private_addresses: opt.bool(
    false,
    'Connect to private and loopback addresses, where the DNS of another domain names them. For networks of one’s own; otherwise strangers have this server try its neighbours.',
  ),
  resolver: opt.text(undefined, 'DNS server to ask, as address:port; left out, those of the system.', {
    check: isAddressAndPort,
    words: 'an IP address, with a port after it or without',
    example: '127.0.0.1:53',
  }),
  queue_lifetime: opt.duration(
    '2d',
    'How long a message waits for a server that cannot be reached; then it goes back to its sender.',
    { min: 1000 },
  ),
  max_queue_messages: opt.int(10_000, 'Messages that wait for one domain at a time.', { min: 1, infinity: true }),
  max_queue_bytes: opt.size('64 MiB', 'Bytes of them.', { min: 10_000, infinity: true }),
  max_sender_messages: opt.int(1000, 'Messages of one user that wait for one domain at a time.', {
    min: 1,
    infinity: true,
  }),
  max_sender_bytes: opt.size('8 MiB', 'Bytes of them.', { min: 10_000, infinity: true }),
  retry_max: opt.duration('15m', 'The longest pause between two attempts to reach a server for which messages wait.', {
    min: 100,
    max: 86_400_000,
  }),
  connect_timeout: opt.duration(
    '30s',
    'How long it may take to reach a server, from asking DNS to being let in, over all of its addresses.',
    { min: 1000, max: 600_000 },
  ),
  idle_timeout: opt.duration(
    '10m',
    'A stream that carried no stanza for so long is closed; the next one opens another.',
    {
      min: 1000,
      infinity: true,
    },
  ),
}

/** Options of the whole server. */
export const serverOptions = {
  hosts: opt.list(opt.domain(), ['localhost'], 'The domains served here.', { minItems: 1 }),
  data: opt.path('./data', 'Folder of the store and of the hermodctl socket. Created if absent.'),
  ctl_socket: opt.path(undefined, 'Unix socket of hermodctl; left out, `hermodctl.sock` in the data folder.', {
    example: '/run/hermod/hermodctl.sock',
  }),
  loglevel: opt.oneOf(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    'info',
    'What is logged: from `info` on starts, logins and sessions, from `debug` on commands and failed connections, at `trace` every stanza. Passwords and what proves them never.',
  ),
  log_format: opt.oneOf(
    ['auto', 'pretty', 'json'],
    'auto',
    '`pretty` is for people, with local times; `json` for programs, with times in UTC (ISO 8601); `auto` is pretty on a terminal and json elsewhere.',
  ),
  listen: opt.list(
    opt.object(listenOptions),
    [
      { port: 5222 },
      { port: 5223, tls: true },
      { port: 5443, module: 'http', tls: true },
      { port: 5269, module: 's2s' },
      { port: 5270, module: 's2s', tls: true },
    ],
    'The ports to listen on.',
  ),
  shaper: opt.map(
    opt.object(shaperOptions),
    'Names for speeds. Built in: `normal` (1 MiB a second, 1000 stanzas a second, several seconds’ worth at once), `fast` (ten times that) and `none` (no limit).',
    { example: { slow: { rate: '10 KiB', burst_size: '100 KiB', stanza_rate: 20 } } },
  ),
  tls_min_version: opt.oneOf(['TLSv1.2', 'TLSv1.3'], 'TLSv1.2', 'Oldest version of TLS taken.'),
  tls_ciphers: opt.text(undefined, 'Ciphers of TLS 1.2, in OpenSSL’s notation; left out, those of Node.', {
    example: 'ECDHE+AESGCM:ECDHE+CHACHA20',
  }),
  max_failures_per_ip: opt.int(50, 'Failed logins from one address within `failure_window`; then it has to wait.', {
    min: 1,
    infinity: true,
  }),
  max_failures_per_account: opt.int(
    20,
    'Failed logins to one account from one address within `failure_window`; then that address has to wait.',
    { min: 1, infinity: true },
  ),
  max_failures_per_account_total: opt.int(
    200,
    'Failed logins to one account from all addresses within `failure_window`; then passwords for it are heard only from where somebody has logged in to it before. Tokens (FAST) go on working.',
    { min: 1, infinity: true },
  ),
  pre_auth_memory: opt.size(
    '128 MiB',
    'Memory for all connections that are not logged in, by estimate. At the limit one of them is closed: first those that hold more than a login needs, then those that had time enough to log in.',
    { min: 1_048_576, infinity: true },
  ),
  failure_window: opt.duration('10m', 'How long a failed login counts.', { min: 1000, max: 86_400_000 }),
  storage: opt.object(
    {
      driver: opt.oneOf(
        ['level', 'memory'],
        'level',
        'Where data lies: `level` in the data folder, `memory` nowhere (for tests: a restart forgets everything).',
      ),
      commit_delay: opt.duration(
        '5ms',
        'How long a write may wait for others to be synced to the disk with it. What is acknowledged is always on the disk.',
        { max: 1000 },
      ),
      cache_size: opt.size('16 MiB', 'Memory for blocks read from the store.', { min: 65_536 }),
    },
    'The store.',
  ),
  blobs: opt.object(
    {
      driver: opt.oneOf(
        ['auto', 'file', 's3', 'memory'],
        'auto',
        'Where pictures and files lie: `file` in a folder, `s3` in a bucket of an S3 server, `memory` nowhere. `auto` is `file`, but `memory` where the store is in memory.',
      ),
      path: opt.path(undefined, 'Folder of the `file` driver; left out, `blobs` in the data folder.', {
        example: '/srv/hermod/blobs',
      }),
      url: opt.text('/blobs', 'What links to files of the `file` driver start with, as seen from outside.', {
        pattern: /^(?:https?:\/\/[^\s/]+)?\/[^\s]*$|^https?:\/\/[^\s/]+$/,
        words: 'a path or an address such as https://example.org/blobs',
      }),
      s3: opt.object(S3, 'The S3 server.'),
    },
    'Pictures and files.',
  ),
  drain: opt.object(
    {
      timeout: opt.duration(
        '10s',
        'How long a stop waits for clients to close their streams and for the last writes.',
        { max: 3_600_000 },
      ),
      see_other_host: opt.text(
        undefined,
        'Host, or host:port, that clients are sent to by `hermodctl drain`; left out, they are told `system-shutdown`.',
        { pattern: /^[^\s<>"']{1,255}$/, words: 'host or host:port', example: 'xmpp2.example.org:5222' },
      ),
    },
    'Leaving: on SIGTERM, `hermodctl stop` and `hermodctl drain`.',
  ),
  s2s: opt.object(S2S, 'Other servers.'),
}

export type ListenConfig = Options<typeof listenOptions>
export type ComponentConfig = Options<typeof COMPONENT>
export type S2SConfig = Options<typeof S2S>
type ShaperConfig = Options<typeof shaperOptions>
export type AclConfig = Options<typeof aclOptions>
export type AccessLine = Options<typeof accessRuleOptions>

/** Options of the modules of a host, by module name; a module that is not in it does not run. */
export interface ModuleConfigs {
  readonly [name: string]: { readonly [option: string]: unknown }
}

/** What one host goes by: the top level with its `host_config` laid over it. */
export interface HostConfig extends Options<typeof hostOptions> {
  readonly host: string
  readonly modules: ModuleConfigs
}

/** The configuration, checked and completed. */
export interface Config extends Options<typeof serverOptions> {
  /** For each of `hosts`, in that order. */
  readonly perHost: ReadonlyMap<string, HostConfig>
}

/** Shapers that need no declaring; a declared one of the same name takes its place. */
export const BUILTIN_SHAPERS: { readonly [name: string]: ShaperConfig } = {
  none: {
    rate: Number.POSITIVE_INFINITY,
    burst_size: Number.POSITIVE_INFINITY,
    stanza_rate: Number.POSITIVE_INFINITY,
    stanza_burst: Number.POSITIVE_INFINITY,
  },
  normal: { rate: 1_048_576, burst_size: 8_388_608, stanza_rate: 1000, stanza_burst: 5000 },
  fast: { rate: 10_485_760, burst_size: 83_886_080, stanza_rate: 10_000, stanza_burst: 50_000 },
}

/** The address of an entry of `listen`. */
export function addressOf({ ip, module }: Pick<ListenConfig, 'ip' | 'module'>): string {
  return ip ?? (module === 'component' ? '127.0.0.1' : '::')
}

/** The configuration of one of `config.hosts`; throws a RangeError for any other domain. */
export function resolveHost(config: Config, host: string): HostConfig {
  const found = config.perHost.get(host)
  if (!found) throw new RangeError(`${host} is not one of the hosts`)
  return found
}
