/** Every extension that hermod speaks, with the file that does it. */
import type { ModuleSchema, XepReference } from '../../src/config/schema.ts'
import { xepsOf } from '../../src/config/xeps.ts'

export interface Spoken extends XepReference {
  /** From the root of the project. */
  readonly file: string
}

/** What core, c2s and auth speak; all else says its module. */
const CORE: readonly Spoken[] = [
  { number: 4, version: '2.13.2', name: 'Data Forms', file: 'src/xmpp/forms.ts' },
  {
    number: 59,
    version: '1.0',
    name: 'Result Set Management',
    file: 'src/xmpp/rsm.ts',
    partial: 'No pages by number (`index`); an archive tells the `count` only where it is known anyway.',
  },
  { number: 68, version: '1.3.0', name: 'Field Standardization for Data Forms', file: 'src/xmpp/forms.ts' },
  { number: 82, version: '1.1.1', name: 'XMPP Date and Time Profiles', file: 'src/xmpp/datetime.ts' },
  { number: 114, version: '1.6', name: 'Jabber Component Protocol', file: 'src/component/stream.ts' },
  {
    number: 122,
    version: '1.0.2',
    name: 'Data Forms Validation',
    file: 'src/xmpp/forms.ts',
    partial: 'Only `open`: other values than those offered are taken too.',
  },
  {
    number: 178,
    version: '1.2',
    name: 'Best Practices for Use of SASL EXTERNAL with Certificates',
    file: 'src/s2s/incoming.ts',
    partial: 'Between servers only: clients log in by other mechanisms.',
  },
  { number: 185, version: '1.0', name: 'Dialback Key Generation and Validation', file: 'src/s2s/dialback.ts' },
  {
    number: 198,
    version: '1.6.3',
    name: 'Stream Management',
    file: 'src/c2s/resume.ts',
    partial: 'A second `<enable/>` is refused, and ends no stream.',
  },
  { number: 203, version: '2.0', name: 'Delayed Delivery', file: 'src/core/delivery.ts' },
  { number: 220, version: '1.1.1', name: 'Server Dialback', file: 'src/s2s/dialback.ts' },
  {
    number: 288,
    version: '1.0.1',
    name: 'Bidirectional Server-to-Server Connections',
    file: 'src/s2s/stream.ts',
  },
  {
    number: 297,
    version: '1.0',
    name: 'Stanza Forwarding',
    file: 'src/archive/results.ts',
    partial: 'Carbons say no time (`<delay/>`).',
  },
  { number: 334, version: '1.0.0', name: 'Message Processing Hints', file: 'src/core/delivery.ts' },
  {
    number: 368,
    version: '1.1.0',
    name: 'SRV records for XMPP over TLS',
    file: 'src/net/listener.ts',
  },
  {
    number: 386,
    version: '1.1.0',
    name: 'Bind 2',
    file: 'src/c2s/bind2.ts',
    partial: 'Messages that wait are not cleared: see [decision 007](../decisions/007-bind2-keeps-messages.md).',
  },
  {
    number: 388,
    version: '1.0.4',
    name: 'Extensible SASL Profile',
    file: 'src/c2s/sasl2.ts',
    partial: 'PLAIN is among the mechanisms by default.',
  },
  { number: 440, version: '1.0.0', name: 'SASL Channel-Binding Type Capability', file: 'src/net/channelbinding.ts' },
  { number: 474, version: '0.5.0', name: 'SASL SCRAM Downgrade Protection', file: 'src/auth/scram.ts' },
  { number: 478, version: '0.2.0', name: 'Stream Limits Advertisement', file: 'src/c2s/features.ts' },
  { number: 480, version: '0.2.0', name: 'SASL Upgrade Tasks', file: 'src/c2s/upgrade.ts' },
  { number: 484, version: '0.2.0', name: 'Fast Authentication Streamlining Tokens', file: 'src/auth/token.ts' },
]

/** In order of their numbers; one that several do stands once, with the file that came last. */
export function spoken(modules: readonly ModuleSchema[], fileOf: (module: string) => string): Spoken[] {
  const ofModules = modules.flatMap(module => xepsOf(module).map(xep => ({ ...xep, file: fileOf(module.name) })))
  const xeps = new Map([...CORE, ...ofModules].map(xep => [xep.number, xep]))
  return [...xeps.values()].sort((a, b) => a.number - b.number)
}
