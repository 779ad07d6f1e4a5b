import { opt } from '../../config/schema.ts'
import { arg } from '../../core/commands/command.ts'
import type { IqRequest } from '../../core/iq.ts'
import { defineModule } from '../../core/module.ts'
import { isMediaType } from '../../storage/blob.ts'
import { Attempts } from '../../util/attempts.ts'
import { type Element, NS, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { domainSegment, safeName } from './names.ts'
import { Transfer } from './transfer.ts'
import { QuotaError, type Upload, Uploads } from './uploads.ts'

const NAME = 'HTTP File Upload'
const url = (doc: string) =>
  opt.text(undefined, doc, {
    pattern: /^https?:\/\/[^\s?#]+$/,
    words: 'an address such as https://files.example.org/upload',
    example: 'https://files.example.org/upload',
  })

export const mod_http_upload = defineModule({
  name: 'mod_http_upload',
  xep: { number: 363, version: '1.2.0', name: 'HTTP File Upload', partial: 'Of the purposes only `message`.' },
  summary: 'Takes files from users and gives out links to them. Needs an HTTP port in `listen`, or `put_url`.',
  options: {
    host: opt.text('upload.@HOST@', 'Domain of the service; `@HOST@` is the host.', { maxLength: 255 }),
    put_url: url(
      'Address for uploads, as seen from outside, if a proxy is in front; `@HOST@` is the host. Requests to it must come to `/upload` of the HTTP port.',
    ),
    get_url: url('Address for downloads, where it differs from `put_url`; `@HOST@` is the host.'),
    max_size: opt.size('100 MiB', 'Largest file.', { min: 1, infinity: true }),
    access: opt.access('local', 'Who may upload.'),
    daily_quota: opt.size('1 GiB', 'Bytes that one user may upload within a day.', { min: 1, infinity: true }),
    max_slots: opt.int(60, 'Uploads that one user may begin within a minute.', { min: 1, infinity: true }),
    max_uploads: opt.int(100, 'Uploads of all users at a time; who comes then has to try again.', { min: 1 }),
    max_user_uploads: opt.int(10, 'Uploads of one user at a time.', { min: 1, infinity: true }),
    min_speed: opt.size('4 KiB', 'Bytes a second: an upload that is slower is given up, after `slow_timeout`.', {
      min: 1,
    }),
    slow_timeout: opt.duration('1m', 'How long an upload may be slower than `min_speed`, or silent.', {
      min: 1000,
      max: 3_600_000,
    }),
    put_timeout: opt.duration('5m', 'How long an upload may wait to be begun.', { min: 1000, max: 86_400_000 }),
    expire: opt.duration('30d', 'How long files are kept.', { min: 60_000, infinity: true }),
  },
  start(ctx) {
    const { options, host } = ctx
    const { put_url: putUrl, get_url: getUrl } = options
    const { daily_quota: dailyQuota, expire, put_timeout: putTimeout } = options
    const segment = domainSegment(host.name)
    const uploads = new Uploads(ctx, `upload/${segment}`, { dailyQuota, expire, putTimeout })
    // Files of before are deleted also where none can be uploaded now.
    ctx.every(60_000, () => uploads.sweepSlots())
    ctx.every(600_000, async () => void (await uploads.deleteOld()))
    ctx.hook('remove_user', ({ user }) => uploads.removeAll(user.toString()))
    commands(ctx, uploads)

    // Below an IP literal there are no domains.
    if (host.name.startsWith('[')) return
    if (putUrl === undefined && ctx.httpOrigin() === undefined) {
      ctx.log.debug('no HTTP port in `listen`: files cannot be uploaded')
      return
    }
    const transfer = new Transfer({
      uploads,
      blobs: ctx.blobs,
      maxUploads: options.max_uploads,
      maxUserUploads: options.max_user_uploads,
      pace: { rate: options.min_speed, grace: options.slow_timeout },
    })
    const path = `/upload/${segment}`
    ctx.http('PUT', path, transfer.put)
    ctx.http('GET', path, transfer.get)
    ctx.http('OPTIONS', path, transfer.options)

    const base = (configured: string | undefined): string => {
      const { secured, port } = ctx.httpOrigin() ?? { secured: true, port: 443 }
      const found = configured ?? `${secured ? 'https' : 'http'}://@HOST@:${port}/upload`
      return `${found.replaceAll('@HOST@', segment).replace(/\/+$/, '')}/${segment}`
    }
    const largest = Math.min(options.max_size, dailyQuota, Number.MAX_SAFE_INTEGER)
    const attempts = new Attempts(options.max_slots, 60_000, ctx.now)

    const domain = ctx.domain(options.host, { name: NAME })
    domain.disco.addIdentity('server', { category: 'store', type: 'file', name: NAME })
    domain.disco.addFeature('server', NS.HTTP_UPLOAD)
    domain.disco.addFeature('server', `${NS.HTTP_UPLOAD_PURPOSE}#message`)
    if (largest < Number.MAX_SAFE_INTEGER) {
      domain.disco.addForm(NS.HTTP_UPLOAD, [{ var: 'max-file-size', values: [String(largest)] }])
    }
    domain.iq('server', 'get', NS.HTTP_UPLOAD, 'request', async ({ from, payload }: IqRequest) => {
      if (from.local === '' || !ctx.allowed(options.access, from.bare)) {
        throw new StanzaError('forbidden', 'you may not upload files here')
      }
      const upload = wanted(payload, largest)
      const owner = from.bare.toString()
      if (!attempts.allow(owner)) throw tooMuch(ctx.now() + 60_000, 'too many uploads at once')
      const { id, secret } = await uploads.slot(owner, upload).catch((error: unknown) => {
        throw error instanceof QuotaError ? tooMuch(error.retry, 'that is more than you may upload in a day') : error
      })
      const place = `${id}/${upload.name}`
      return xml(
        'slot',
        { xmlns: NS.HTTP_UPLOAD },
        xml('put', { url: `${base(putUrl)}/${place}?secret=${secret}` }),
        xml('get', { url: `${base(getUrl ?? putUrl)}/${place}` }),
      )
    })
  },
})

type Ctx = Parameters<typeof mod_http_upload.start>[0]

/** XEP-0363 3 and 6: what is announced, checked. */
function wanted({ attrs }: Element, largest: number): Upload {
  const name = safeName(attrs['filename'] ?? '')
  if (name === undefined) throw new StanzaError('bad-request', 'that is no name for a file')
  // An xs:positiveInteger (XEP-0363 16), of whatever length: what no number holds is more than any limit.
  const [, digits] = /^\s*\+?0*([1-9]\d*)\s*$/.exec(attrs['size'] ?? '') ?? []
  if (digits === undefined) throw new StanzaError('bad-request', 'the size is missing')
  const size = Number(digits)
  if (size > largest) {
    throw new StanzaError('not-acceptable', `File too large. The maximum file size is ${largest} bytes`, {
      application: xml('file-too-large', { xmlns: NS.HTTP_UPLOAD }, xml('max-file-size', {}, String(largest))),
    })
  }
  const type = (attrs['content-type'] ?? '').trim() || 'application/octet-stream'
  if (!isMediaType(type)) throw new StanzaError('bad-request', 'that is no media type')
  return { name, type, size }
}

function tooMuch(retry: number, text: string): StanzaError {
  const stamp = new Date(Math.ceil(retry / 1000) * 1000).toISOString().replace('.000', '')
  return new StanzaError('resource-constraint', text, {
    type: 'wait',
    application: xml('retry', { xmlns: NS.HTTP_UPLOAD, stamp }),
  })
}

function commands(ctx: Ctx, uploads: Uploads): void {
  ctx.command({
    name: 'list_uploads',
    summary: 'Lists the files that an account has uploaded and that are still there.',
    args: { account: arg.account('The account') },
    returns: { at: 'time', name: 'text', type: 'text', size: 'int' },
    example: 'list_uploads alice@localhost',
    async *run({ account }) {
      for await (const upload of uploads.of(account.jid.toString())) {
        yield { ...upload, name: decodeURIComponent(upload.name) }
      }
    },
  })
  ctx.command({
    name: 'delete_old_uploads',
    summary: 'Deletes the uploaded files of a host that are older than so many days; says how many.',
    args: { host: arg.host('The host'), days: arg.int('Age in days', { min: 0 }) },
    returns: 'int',
    example: 'delete_old_uploads localhost 30',
    run: ({ days }) => uploads.deleteOld(days * 86_400_000),
  })
}
