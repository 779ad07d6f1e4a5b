/** A SCRAM client of its own, from RFC 5802 alone. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import type { SaslExchange, SaslResult } from '../../src/auth/exchange.ts'

const NODE_HASH: Record<string, [string, number]> = {
  'SCRAM-SHA-1': ['sha1', 20],
  'SCRAM-SHA-256': ['sha256', 32],
  'SCRAM-SHA-512': ['sha512', 64],
}

export interface ClientOptions {
  mechanism: string
  username: string
  password: string
  gs2?: string
  nonce?: string
  /** Data of the channel binding. */
  binding?: Buffer
  /** Changes the messages before they are sent. */
  first?: (text: string) => string
  final?: (text: string) => string
  /** Changes what is signed and sent alike. */
  signed?: (withoutProof: string) => string
}

interface ClientEnd {
  result: SaslResult
  challenge?: string
  /** Whether the server has proven that it knows the keys. */
  verified?: boolean
}

/** A login, as RFC 5802 section 3 has it. */
export async function scramClient(exchange: SaslExchange, options: ClientOptions): Promise<ClientEnd> {
  const [hash, bytes] = NODE_HASH[options.mechanism.replace('-PLUS', '')]!
  const mac = (key: Buffer, text: string): Buffer => createHmac(hash, key).update(text).digest()
  const gs2 = options.gs2 ?? 'n,,'
  const bare = `n=${options.username.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${options.nonce ?? 'clientnonce'}`

  const first = `${gs2}${bare}`
  const answer = await exchange.step(Buffer.from(options.first?.(first) ?? first))
  if (!('challenge' in answer)) return { result: answer }
  const challenge = answer.challenge.toString()
  const fields = new Map(challenge.split(',').map(part => [part[0]!, part.slice(2)]))

  const salt = Buffer.from(fields.get('s')!, 'base64')
  const salted = pbkdf2Sync(options.password.normalize('NFKC'), salt, Number(fields.get('i')), bytes, hash)
  const clientKey = mac(salted, 'Client Key')
  const storedKey = createHash(hash).update(clientKey).digest()
  const channel = Buffer.concat([Buffer.from(gs2), options.binding ?? Buffer.alloc(0)]).toString('base64')
  const plain = `c=${channel},r=${fields.get('r')}`
  const withoutProof = options.signed?.(plain) ?? plain
  const message = `${bare},${challenge},${withoutProof}`
  const signature = mac(storedKey, message)
  const proof = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!)).toString('base64')
  const final = `${withoutProof},p=${proof}`

  const result = await exchange.step(Buffer.from(options.final?.(final) ?? final))
  if (!('success' in result)) return { result, challenge }
  const expected = `v=${mac(mac(salted, 'Server Key'), message).toString('base64')}`
  return { result, challenge, verified: result.success.data?.toString() === expected }
}
