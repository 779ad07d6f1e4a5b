import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'

export interface CertificateSource {
  /** PEM, or the path of a PEM file: the certificate of the server, then its chain. */
  cert: string
  /** PEM or path of the private key; left out, it stands beside the certificate. */
  key?: string | undefined
}

/** Certificates or settings that cannot be used. The message is for the operator: which file, why, what to do. */
export class TlsError extends Error {
  override name = 'TlsError'
}

/** DNS names of a certificate, in lower case. Node quotes names with odd characters; those match nothing and are left out. */
export function namesOf(leaf: X509Certificate): string[] {
  const names = (leaf.subjectAltName ?? '').split(', ').flatMap(one => (one.startsWith('DNS:') ? [one.slice(4)] : []))
  return names.map(name => name.toLowerCase()).filter(name => /^(\*\.)?[a-z0-9._-]+$/.test(name))
}

export function isPem(text: string): boolean {
  return text.includes('-----BEGIN ')
}

export function label(text: string): string {
  return isPem(text) ? 'the certificate given as PEM' : text
}

/** Inode, size and times of what the paths lead to; a renewal changes at least one of them. */
export async function stampOf({ cert, key }: CertificateSource, option = 'certfiles'): Promise<string> {
  const stamps: string[] = []
  for (const path of [cert, key ?? '']) {
    if (path === '' || isPem(path)) continue
    try {
      const { ino, size, mtimeMs, ctimeMs } = await stat(path)
      stamps.push(`${ino} ${size} ${mtimeMs} ${ctimeMs}`)
    } catch (error) {
      throw unreadable(path, error, option)
    }
  }
  return stamps.join(', ')
}

/** @param option that names the file */
export async function readPem(pathOrPem: string, option = 'certfiles'): Promise<string> {
  if (isPem(pathOrPem)) return pathOrPem
  let bytes: Buffer
  try {
    bytes = await readFile(pathOrPem)
  } catch (error) {
    throw unreadable(pathOrPem, error, option)
  }
  // A DER file begins with a SEQUENCE.
  if (bytes[0] === 0x30 && !isPem(bytes.toString('latin1'))) {
    throw new TlsError(`${pathOrPem}: is DER, and PEM is wanted. Convert it with openssl x509 (or pkey) -inform der`)
  }
  return bytes.toString('utf8')
}

export async function readPair(
  source: CertificateSource,
): Promise<{ cert: string; key: string; leaf: X509Certificate }> {
  const cert = await readPem(source.cert)
  const blocks = pemBlocks(cert)
  if (blocks.length === 0) {
    throw new TlsError(
      `${label(source.cert)}: holds no certificate (-----BEGIN CERTIFICATE-----). Is it the right file?`,
    )
  }
  const chain = blocks.map((block, index) => {
    try {
      return new X509Certificate(block)
    } catch (error) {
      throw new TlsError(`${label(source.cert)}: certificate ${index + 1} in it is broken (${reason(error)})`)
    }
  })
  const [leaf] = chain as [X509Certificate, ...X509Certificate[]]
  const keyLabel = source.key === undefined || isPem(source.key) ? label(source.cert) : source.key
  const { pem: key, key: parsed } = parseKey(keyLabel, source.key === undefined ? cert : await readPem(source.key))
  if (!leaf.checkPrivateKey(parsed)) {
    const place = chain.findIndex(one => one.checkPrivateKey(parsed))
    const hint =
      place > 0
        ? `it belongs to certificate ${place + 1} in that file. Put that one first, then its chain`
        : `Both must come from the same issue; the certificate is for ${namesOf(leaf).join(', ') || leaf.subject}, serial ${leaf.serialNumber}`
    throw new TlsError(`${keyLabel}: this private key is not that of the certificate in ${label(source.cert)}: ${hint}`)
  }
  return { cert: blocks.join('\n'), key, leaf }
}

function parseKey(name: string, text: string): { pem: string; key: KeyObject } {
  const pem = /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[\s\S]+?-----END (?:[A-Z]+ )*PRIVATE KEY-----/.exec(text)?.[0]
  if (pem === undefined) {
    throw new TlsError(`${name}: holds no private key (-----BEGIN PRIVATE KEY-----). Give the file that does as 'key'`)
  }
  if (pem.startsWith('-----BEGIN ENCRYPTED ') || pem.includes('ENCRYPTED\n') || pem.includes('ENCRYPTED\r\n')) {
    throw new TlsError(
      `${name}: the private key is protected by a passphrase, which nobody is there to type. Take it off with openssl pkey -in KEY -out NEWKEY`,
    )
  }
  try {
    return { pem, key: createPrivateKey(pem) }
  } catch (error) {
    throw new TlsError(`${name}: the private key is broken (${reason(error)})`)
  }
}

export function pemBlocks(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []
}

function unreadable(path: string, error: unknown, option: string): TlsError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return new TlsError(`${path}: there is no such file. Look at the path in ${option}`)
  if (code === 'EACCES') {
    return new TlsError(
      `${path}: may not be read by the user that the server runs as. Give it the right (chgrp, chmod g+r)`,
    )
  }
  if (code === 'EISDIR')
    return new TlsError(`${path}: is a folder, and a file is wanted. Look at the path in ${option}`)
  return new TlsError(`${path}: cannot be read (${reason(error)})`)
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/**
 * Does something again and again, but not while it is still being done.
 *
 * @param check never rejects
 * @param interval ms
 * @returns what ends it
 */
export function repeat(check: () => Promise<unknown>, interval: number): () => void {
  let checking = false
  const timer = setInterval(() => {
    if (checking) return
    checking = true
    void check().finally(() => {
      checking = false
    })
  }, interval)
  timer.unref()
  return () => clearInterval(timer)
}
