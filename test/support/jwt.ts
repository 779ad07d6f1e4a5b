/** Makers of JSON Web Tokens and of a web service that knows accounts, for tests of `auth_method`. */
import { createHmac, type KeyObject, sign } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token with these claims; signed by what `alg` says, unless `by` does it. */
export function jwt(
  alg: string,
  key: KeyObject | Buffer,
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
): string {
  const signed = `${part({ alg, typ: 'JWT', ...header })}.${part(claims)}`
  return `${signed}.${signature(alg, key, signed).toString('base64url')}`
}

function signature(alg: string, key: KeyObject | Buffer, text: string): Buffer {
  if (alg === 'none') return Buffer.alloc(0)
  const hash = alg === 'EdDSA' ? null : `sha${alg.slice(2)}`
  if (alg.startsWith('HS')) return createHmac(hash!, key).update(text).digest()
  const signer = key as KeyObject
  return sign(hash, Buffer.from(text), alg.startsWith('ES') ? { key: signer, dsaEncoding: 'ieee-p1363' } : signer)
}

export interface Asked {
  path: string
  fields: Record<string, string>
  authorization: string | undefined
}

/** A web service on loopback; `answer` says what it replies, `asked` what it was asked. */
export async function accountService(
  t: TestContext,
  answer: (asked: Asked) => { status?: number; body: string } | Promise<{ status?: number; body: string }>,
): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    void read(request).then(async body => {
      const one = {
        path: request.url ?? '',
        fields: Object.fromEntries(new URLSearchParams(body)),
        authorization: request.headers.authorization,
      }
      asked.push(one)
      const { status = 200, body: text } = await answer(one)
      if (!response.destroyed) response.writeHead(status).end(text)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/accounts`, asked }
}

async function read(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return text
}
