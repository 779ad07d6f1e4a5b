import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from './config/core.ts'
import { blaming, OptionError } from './config/diagnostics.ts'
import { Authorities } from './net/authorities.ts'
import { TlsContexts, type TlsLog } from './net/tls.ts'
import { configuredCertificates, methodsOf, tlsSettings } from './settings.ts'

const SILENT: TlsLog = { info() {}, warn() {}, error() {} }

interface Findings {
  /** What a server would not start with. */
  wrong: OptionError[]
  /** What it would start with, and some client would not like. */
  warnings: string[]
  /** Which certificates there are, for whom, until when. */
  certificates: string[]
}

/** What a configuration that is right by itself comes to on this machine. Opens no port and writes nothing. */
export async function lookAt(config: Config): Promise<Findings> {
  const findings: Findings = { wrong: [], warnings: [], certificates: [] }
  const looks = [
    () => lookAtCertificates(config, findings.warnings, findings.certificates),
    () => methodsOf(config, undefined),
    () => lookAtAuthorities(config),
    () => lookAtFolder(config),
  ]
  for (const look of looks) {
    try {
      await look()
    } catch (error) {
      if (!(error instanceof OptionError)) throw error
      findings.wrong.push(error)
    }
  }
  return findings
}

async function lookAtCertificates(config: Config, warnings: string[], found: string[]): Promise<void> {
  const say: TlsLog['warn'] = (fields, message) => {
    const { file } = fields as { file?: string }
    warnings.push(`${file === undefined ? '' : `${file}: `}${message}`)
  }
  const log: TlsLog = { info() {}, warn: say, error: say }
  const certfiles = configuredCertificates(config)
  // Without any the server makes one itself, for every host.
  if (certfiles.length === 0) return
  const tls = await blaming(['certfiles'], () =>
    TlsContexts.load({ ...tlsSettings(config), certificates: certfiles, log }),
  )
  for (const { names, file, notAfter } of tls.expiry()) {
    found.push(`certificate for ${names.join(' ')} until ${notAfter.toISOString().slice(0, 10)}: ${file}`)
  }
  for (const host of config.hosts) {
    if (!tls.covers(host))
      warnings.push(`no certificate in certfiles is for ${host}: its clients will refuse to connect`)
  }
}

/** Those that certificates of other servers may come from. */
async function lookAtAuthorities({ s2s }: Config): Promise<void> {
  if (s2s.ca_file === undefined) return
  await blaming(['s2s', 'ca_file'], () => Authorities.load(s2s.ca_file, SILENT))
}

/** The data folder, or where it is to be made. */
async function lookAtFolder({ data, storage }: Config): Promise<void> {
  if (storage.driver === 'memory') return
  for (let folder = path.resolve(data); ; folder = path.dirname(folder)) {
    try {
      return await access(folder, constants.W_OK | constants.X_OK)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' && folder !== path.dirname(folder)) continue
      const words = code === 'ENOTDIR' ? 'is no folder' : 'may not be written by this user'
      throw new OptionError(['data'], `${folder} ${words}: name another folder, or give it to this user`, error)
    }
  }
}
