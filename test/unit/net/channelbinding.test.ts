import assert from 'node:assert/strict'
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import tls from 'node:tls'
import { serverEndPoint, tlsBindings } from '../../../src/net/channelbinding.ts'

/** Self-signed, made for this test; `hash` is empty where RFC 5929 defines no binding. */
const CERTIFICATES = [
  {
    name: 'ecdsa-with-SHA256',
    hash: 'sha256',
    der:
      'MIIBbzCCARWgAwIBAgIUSH7sMzzYarc9hZgguOgVtOESJXEwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBdDAgFw0yNjExMjQwNDI0MjJaGA8yMTI2' +
      'MTAzMTA0MjQyMlowDDEKMAgGA1UEAwwBdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMDVj8V4gOdOdq9rS0/mY186z3rrKiWLYnlgXUc09RQY' +
      'OiGRA+tUd+LzXDDK2q6UC6TDxezR3tEI3yJ/1Wjdel+jUzBRMB0GA1UdDgQWBBRZp6BZlbPcEKKveMbwAlmi7XuWJDAfBgNVHSMEGDAWgBRZp6BZ' +
      'lbPcEKKveMbwAlmi7XuWJDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIGKO07+8RRgqpp9boosjGuMmLfrvbI/jEgn6OwnMvkzH' +
      'AiEAvwl9ZnomMdOthi7+Cle2IrsNEzVtgrQwHA4zQPwYMvw=',
  },
  {
    name: 'ecdsa-with-SHA384',
    hash: 'sha384',
    der:
      'MIIBrTCCATKgAwIBAgIULgj0VGvPtjyQO1XEUoyaMM2Ug40wCgYIKoZIzj0EAwMwDDEKMAgGA1UEAwwBdDAgFw0yNjExMjQwNDI0MjJaGA8yMTI2' +
      'MTAzMTA0MjQyMlowDDEKMAgGA1UEAwwBdDB2MBAGByqGSM49AgEGBSuBBAAiA2IABM+eK0c1you3iqFuCQWBBo74oc4hpr+7V1a0N5fWhRHI0V2e' +
      'dKgvnLmlFFIuTohf5BBiBwaiOoVZNV/nUOHnFoNkKNkCAWaUaQRfJru0OhyWkrZJKkPuv+oBn4q+805qMKNTMFEwHQYDVR0OBBYEFJ6pp5iLs2s2' +
      'oRyJzb3dpZzyOFR1MB8GA1UdIwQYMBaAFJ6pp5iLs2s2oRyJzb3dpZzyOFR1MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwMDaQAwZgIxAPgQ' +
      'jJJNJy2ku5y7LAgNfklcunZJKEE7UTiYnSEI/zMVvrXgbaDx+fjgwI6yY5KoEwIxAJ3cqUqOGS1DsIJIC88Q+TeVYgbD0NT3f5SCl2ekqn/R83xj' +
      'U/K0rwYcPisCWCMsRw==',
  },
  {
    name: 'ecdsa-with-SHA1',
    hash: 'sha256',
    der:
      'MIIBbTCCARSgAwIBAgIUE52FZMlxYB9uxQf3Wc80SHlvQg4wCQYHKoZIzj0EATAMMQowCAYDVQQDDAF0MCAXDTI2MTEyNDA0MjQyMloYDzIxMjYx' +
      'MDMxMDQyNDIyWjAMMQowCAYDVQQDDAF0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEO8IwoWapwoHCyWgCJoHYC7uTBnE+MrINoWzQebzIpFC7' +
      'WkuiU8FXl9TzyZbLEMhikMf/r9esxuFL5sH7TG+fT6NTMFEwHQYDVR0OBBYEFIV6fvAv9TEikAKO4KzZHA5VoeLxMB8GA1UdIwQYMBaAFIV6fvAv' +
      '9TEikAKO4KzZHA5VoeLxMA8GA1UdEwEB/wQFMAMBAf8wCQYHKoZIzj0EAQNIADBFAiAxeq690ebaAt8OTTreYA1ssqWZ1y4GwTcVe1stJyVnKQIh' +
      'ANPLvGjn+Hh4gZQ8CBg8I06YciSq/+KsLCroPjl0X3qb',
  },
  {
    name: 'sha512WithRSA',
    hash: 'sha512',
    der:
      'MIIB9jCCAV+gAwIBAgIUFqOa2KPjXAFnZyjT64fCP3VX0HUwDQYJKoZIhvcNAQENBQAwDDEKMAgGA1UEAwwBdDAgFw0yNjExMjQwNDI0MjJaGA8y' +
      'MTI2MTAzMTA0MjQyMlowDDEKMAgGA1UEAwwBdDCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEA2tAQcw61M9qTXK0dIR89Jmg0xRu8KWhy/i6t' +
      'uiBkO2pK6sG+p9TISQWoGNeSVffxb+orC1kHEu98aV9tpqTY243AsdYDqiQnNIU88DTC8SIDkR1Lg2dGbpf4bzIFPO4jfWF6jde1L+10Wuv98Ax+' +
      'vO+7tlJCnDNh5fUyfQlWpxECAwEAAaNTMFEwHQYDVR0OBBYEFFqAjbDMpeIPAscTqYNupwowMMX/MB8GA1UdIwQYMBaAFFqAjbDMpeIPAscTqYNu' +
      'pwowMMX/MA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQENBQADgYEAd9NTkMRvlNtR66I4to6kKoKmD3Nh/qlsKGRexLTiURXGuqW3rdiWKVBQ' +
      'z30ZFOYLTlFBu3BTmgk7wYzflgtRCymCyFCK89QnaPTkDiGlmhPchZHV9BKKy5HmUIQ/QuW1dwv3ObL6s3fm1ysfIxVYXXNqnCB48JG68yMMulfi' +
      'igk=',
  },
  {
    name: 'RSASSA-PSS with SHA384',
    hash: 'sha384',
    der:
      'MIICXjCCAZOgAwIBAgIUFyXRRhEZIj5/vxH9Ag6a43y9PdUwQQYJKoZIhvcNAQEKMDSgDzANBglghkgBZQMEAgIFAKEcMBoGCSqGSIb3DQEBCDAN' +
      'BglghkgBZQMEAgIFAKIDAgFOMAwxCjAIBgNVBAMMAXQwIBcNMjYxMTI0MDQyNDIyWhgPMjEyNjEwMzEwNDI0MjJaMAwxCjAIBgNVBAMMAXQwgZ8w' +
      'DQYJKoZIhvcNAQEBBQADgY0AMIGJAoGBAJYpA+/Q1KkZQ1bWL+dXtEXa4hth9div24fdTh6sgc0M/9n9/OZj/f5vBHHms2S1Wmdy/QOxGIJNgAYA' +
      'c62CEHgqMegUIX7sCDkzZr+Yc8rjvOoCxSeqrAtlG/WXn4b9GctJJhtQtv73PdMmBdzhLxY6kNptB15UtZrgUIqCs0AvAgMBAAGjUzBRMB0GA1Ud' +
      'DgQWBBT+R5sCqvsCm/PSODHVIavEZgrhwTAfBgNVHSMEGDAWgBT+R5sCqvsCm/PSODHVIavEZgrhwTAPBgNVHRMBAf8EBTADAQH/MEEGCSqGSIb3' +
      'DQEBCjA0oA8wDQYJYIZIAWUDBAICBQChHDAaBgkqhkiG9w0BAQgwDQYJYIZIAWUDBAICBQCiAwIBTgOBgQAIMsJ8I07lCKVgT/P65n7A3Ss9zXTb' +
      'Te5zLp6CM8mOKPgf81fjVJ4x5UUeM6wxMx5rurLFAkOODr7PlSf7hiZ7d7xsO2DCfsyJjlrScNfoQ0HkMyvUvDr0jHh6AG6TFSuugyqGrx5IzHF6' +
      'tw6z9m95LN1YBVht2z9FQqFZYVp5Ig==',
  },
  {
    name: 'RSASSA-PSS with SHA1',
    hash: 'sha256',
    der:
      'MIICADCCAWSgAwIBAgIUGI377ZG8Sr/Zp4tVBfOd3yDakvowEgYJKoZIhvcNAQEKMAWiAwIBajAMMQowCAYDVQQDDAF0MCAXDTI2MTEyNDA0MjQy' +
      'M1oYDzIxMjYxMDMxMDQyNDIzWjAMMQowCAYDVQQDDAF0MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDms0XfshZ6INt9PqmV+ZpxaHaOubmz' +
      '0n+NaFp+bBa0XP/ssfWUQlnbzn1b0SR+gMKzwHPYm7XWpLPiMNj6+QXrouBmR9cyhN5kG8P9s9EVDkWpTyykO/OqYffthny+66lqtpO6PNL8o1DU' +
      'TPknFAZ/MAejHqC+w8NBAetSKuYX/wIDAQABo1MwUTAdBgNVHQ4EFgQU0Qz/d4W+6FWqfPoPQMC6Enfj7qQwHwYDVR0jBBgwFoAU0Qz/d4W+6FWq' +
      'fPoPQMC6Enfj7qQwDwYDVR0TAQH/BAUwAwEB/zASBgkqhkiG9w0BAQowBaIDAgFqA4GBAE0f3YtOeCibpnGU2j6TL+o3icXZqHlqOVZrsLY3426K' +
      'hbbrOdffa0/pPKOUuqTN2S0xgLY+AwaDsMt/Trn35LL9CT0e17DtMHeAQs+k/hoEE0+NehzzgFsTj9XbEfeCj0hmVqrwzsGfjRN4ILaHLefyMpOV' +
      'iTJ3d7SuLQ4ZFFsB',
  },
  {
    name: 'Ed25519',
    hash: '',
    der:
      'MIIBLjCB4aADAgECAhQSb4Up423+hnW5B4TVcQRfX3bdvjAFBgMrZXAwDDEKMAgGA1UEAwwBdDAgFw0yNjExMjQwNDI0MjJaGA8yMTI2MTAzMTA0' +
      'MjQyMlowDDEKMAgGA1UEAwwBdDAqMAUGAytlcAMhAAMuLTel9rFTltzcUNhKGZSqojvWGzhqd2uT1INwwgwxo1MwUTAdBgNVHQ4EFgQUWsmZBxtg' +
      'WoCyuHQ+2gj/mn0+pW0wHwYDVR0jBBgwFoAUWsmZBxtgWoCyuHQ+2gj/mn0+pW0wDwYDVR0TAQH/BAUwAwEB/zAFBgMrZXADQQCJva9bdkl+6uJG' +
      '79ARzjYrXzg373PZnofcKCKGYdiVpQlVdFw5f5/AbrPzQiesajslrbRBJsMlPT1OrZUBY+gJ',
  },
]

for (const { name, hash, der } of CERTIFICATES) {
  test(`tls-server-end-point of a certificate signed with ${name}`, () => {
    const bytes = Buffer.from(der, 'base64')
    const expected = hash === '' ? undefined : createHash(hash).update(bytes).digest()
    assert.deepEqual(serverEndPoint(bytes), expected)
    assert.deepEqual(serverEndPoint(new X509Certificate(bytes)), expected)
  })
}

test('what is no certificate has no binding, however it is cut', () => {
  const bytes = Buffer.from(CERTIFICATES[4]!.der, 'base64')
  for (let length = 0; length < 32; length++) assert.equal(serverEndPoint(bytes.subarray(0, length)), undefined)
  assert.equal(serverEndPoint(Buffer.alloc(64, 0xff)), undefined)
  assert.equal(serverEndPoint(Buffer.alloc(64)), undefined)
})

/** A throw-away key with its certificate, for the connections below. */
const KEY =
  'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6tUs3o7dioj+0woiYhhnBPZ/A9C+Uz2Y9JumxYLSRO2hRANCAAS8Io5AeeFXoQlH' +
  'V/WBNoCy+NLDw28oi1W1cKqsKa9NIsEh4DBphnRrZoPVMiGgW9Iu7ZXdmKkSlme0cYub4b+k'
const CERTIFICATE =
  'MIIBbzCCARWgAwIBAgIUTcI7b5lOoQ47KhamqEr90oy5PTQwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBdDAgFw0yNjExMjQwNDMwMjdaGA8yMTI2' +
  'MTAzMTA0MzAyN1owDDEKMAgGA1UEAwwBdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLwijkB54VehCUdX9YE2gLL40sPDbyiLVbVwqqwpr00i' +
  'wSHgMGmGdGtmg9UyIaBb0i7tld2YqRKWZ7Rxi5vhv6SjUzBRMB0GA1UdDgQWBBRQxuU6ZjHZLeqLn6vmmieFLyfdPDAfBgNVHSMEGDAWgBRQxuU6' +
  'ZjHZLeqLn6vmmieFLyfdPDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIAY8+ppJwfogFSA86L6caFa+9qtYudxB3hfEqjE3ibRN' +
  'AiEA191UNa26RVbDaJWyRmJqiyKTG6OhSLxChmhLni15tvE='

async function connect(
  version: tls.SecureVersion,
): Promise<{ server: tls.TLSSocket; client: tls.TLSSocket; end: () => void }> {
  const cert = new X509Certificate(Buffer.from(CERTIFICATE, 'base64')).toString()
  const key = createPrivateKey({ key: Buffer.from(KEY, 'base64'), format: 'der', type: 'pkcs8' })
  const keyPem = key.export({ format: 'pem', type: 'pkcs8' }) as string
  const listener = tls.createServer({ key: keyPem, cert, minVersion: version, maxVersion: version })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as { port: number }
  const accepted = once(listener, 'secureConnection') as Promise<[tls.TLSSocket]>
  // The certificate is compared below; no authority has signed it.
  const client = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(client, 'secureConnect')
  const [server] = await accepted
  return {
    server,
    client,
    end: () => {
      client.destroy()
      server.destroy()
      listener.close()
    },
  }
}

test('both ends of a TLS 1.3 connection have the same bindings, another connection has others', async () => {
  const one = await connect('TLSv1.3')
  const two = await connect('TLSv1.3')
  try {
    const bindings = tlsBindings(one.server, true, false)
    assert.deepEqual(bindings.types, ['tls-exporter', 'tls-server-end-point'])
    const exported = one.client.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
    assert.deepEqual(bindings.data('tls-exporter'), exported)
    assert.deepEqual(bindings.data('tls-server-end-point'), serverEndPoint(one.client.getPeerX509Certificate()!))
    assert.notDeepEqual(tlsBindings(two.server, true, false).data('tls-exporter'), exported)
  } finally {
    one.end()
    two.end()
  }
})

test('TLS 1.2 has no tls-exporter', async () => {
  const { server, end } = await connect('TLSv1.2')
  try {
    assert.deepEqual(tlsBindings(server, true, false).types, ['tls-server-end-point'])
    assert.equal(tlsBindings(server, true, false).data('tls-exporter'), undefined)
    assert.deepEqual(tlsBindings(server, false, false).types, [])
  } finally {
    end()
  }
})

test('tls-unique is taken on TLS 1.2; on TLS 1.3, for which it is not defined, only where the operator wants it', async () => {
  for (const [version, wanted, taken] of [
    ['TLSv1.2', false, true],
    ['TLSv1.3', false, false],
    ['TLSv1.3', true, true],
  ] as const) {
    const { client, server, end } = await connect(version)
    try {
      const bindings = tlsBindings(server, true, wanted)
      assert.equal(bindings.types.includes('tls-unique' as never), false, 'never announced')
      assert.deepEqual(bindings.data('tls-unique'), taken ? client.getFinished() : undefined, `${version} ${wanted}`)
    } finally {
      end()
    }
  }
})
