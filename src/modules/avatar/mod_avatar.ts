import { opt } from '../../config/schema.ts'
import { arg } from '../../core/commands/command.ts'
import { FILTER, OBSERVE } from '../../core/hooks.ts'
import { defineModule } from '../../core/module.ts'
import { NS } from '../../xml/index.ts'
import { Avatars, SHOWN, type Shown } from './avatars.ts'
import { decoderProblem, Images } from './images.ts'
import { Pictures } from './pictures.ts'
import { SHOWS_NONE, withHash } from './presence.ts'

export const mod_avatar = defineModule({
  name: 'mod_avatar',
  xep: [
    {
      number: 84,
      version: '1.1.4',
      name: 'User Avatar',
      partial: 'A picture that is too large, or has metadata in it, is made anew, and gets the id of what it became.',
    },
    { number: 153, version: '1.1.1', name: 'vCard-Based Avatars' },
    {
      number: 398,
      version: '1.0.0',
      name: 'User Avatar to vCard-Based Avatars Conversion',
      partial: 'Directed presence has the hash only of a picture that everybody may see.',
    },
  ],
  summary: 'Keeps the pictures of users, whichever way a client sends them, and shows them to clients of every kind.',
  options: {
    max_size: opt.size('1 MiB', 'Largest picture that is taken. Clients are held to the largest stanza, too.', {
      min: 1024,
      max: 16 * 1024 * 1024,
    }),
    max_pixels: opt.int(16_000_000, 'Most pixels of a picture, all frames of an animation together.', {
      min: 1024,
      max: 268_000_000,
    }),
    max_frames: opt.int(100, 'Most frames of an animation.', { min: 1, max: 10_000 }),
    max_checks: opt.int(
      30,
      'Pictures of one user that are looked at in a minute, those included that are refused: each may have to be decoded.',
      { min: 1, infinity: true },
    ),
    max_side: opt.int(1024, 'Most pixels of width and height that are kept; what is larger is scaled down.', {
      min: 96,
      max: 16_384,
    }),
    sizes: opt.list(
      opt.int(undefined, '', { min: 16, max: 4096 }),
      [96, 512],
      'Sides of the smaller pictures, in pixels, that are made of each, as PNG and as WebP, for links.',
    ),
    timeout: opt.duration('5s', 'Time that decoding or scaling a picture may take.', { min: 1000, max: 60_000 }),
    keep: opt.duration('1h', 'How long a picture is kept that nothing refers to any more.', { min: 1000 }),
  },
  async start(ctx) {
    const { options, host } = ctx
    const problem = decoderProblem()
    if (problem !== undefined) ctx.log.error(`pictures will be refused: ${problem}`)
    const images = new Images({
      bytes: options.max_size,
      pixels: options.max_pixels,
      frames: options.max_frames,
      side: options.max_side,
      timeout: options.timeout,
    })
    const pictures = new Pictures({
      host: host.name,
      blobs: ctx.blobs,
      store: ctx,
      table: ctx.table({ name: 'picture', version: 1 }),
      due: ctx.table({ name: 'picture_due', version: 1 }),
      images,
      checks: options.max_checks,
      sides: options.sizes,
      grace: options.keep,
      references: user => avatars.references(user),
      now: () => ctx.now(),
      log: ctx.log,
    })
    const shown = ctx.userTable<Shown>({ name: 'avatar', version: 1 })
    const avatars = new Avatars(ctx, pictures, images, shown)
    ctx.provide('avatar', avatars)

    await ctx.perAccount(SHOWN, ({ user }) => shown.get([user], []))
    ctx.feature(NS.AVATAR_CONVERSION, 'account')
    ctx.hook('pep_publish', event => avatars.publishing(event))
    ctx.hook('pep_published', ({ account, node, payload }) => avatars.published(account, node, payload))
    ctx.hook('pep_retracted', ({ account, node }) => avatars.retracted(account, node))
    ctx.hook('pep_read', event => avatars.reading(event))
    ctx.hook('vcard_set', event => avatars.vcardSet(event))
    ctx.hook('vcard_stored', event => avatars.vcardStored(event))
    ctx.hook('vcard_get', event => avatars.vcardGet(event))
    ctx.hook('user_send_packet', { order: FILTER }, event => {
      const { session, stanza } = event
      if (stanza.kind !== 'presence' || stanza.type !== 'available') return
      const hash = avatars.hash(session.account)
      if (stanza.to === undefined) event.stanza = withHash(session, stanza, hash)
      if (stanza.to === undefined || hash === undefined) return
      // A room is full of strangers.
      return avatars.isOpen(session.account).then(open => {
        if (open) event.stanza = withHash(session, stanza, hash)
      })
    })
    ctx.survives(SHOWS_NONE)
    // After the modules whose rows refer to pictures.
    ctx.hook('remove_user', { order: OBSERVE }, ({ user }) => pictures.removeAll(user.local))
    ctx.every(Math.min(options.keep, 600_000), () => pictures.sweep())
    ctx.command({
      name: 'sweep_pictures',
      summary: 'Deletes the pictures of a host that nothing refers to any more; the server does so by itself, too.',
      args: { host: arg.host('The host') },
      run: () => avatars.sweep(),
    })
  },
})
