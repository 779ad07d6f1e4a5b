import path from 'node:path'
import type { Config } from '../config/core.ts'
import type { BlobStore } from './blob.ts'
import { openFileBlobs } from './blob-files.ts'
import { openMemoryBlobs } from './blob-memory.ts'

/** The store of pictures and files that the configuration names. Rejects with a StoreError that says what to do. */
export async function openBlobs(
  config: Config,
  log: { warn(fields: object, message: string): void },
): Promise<BlobStore> {
  const { driver, path: folder, url, s3 } = config.blobs
  const { driver: store } = config.storage
  if (driver === 'memory' || (driver === 'auto' && store === 'memory')) return openMemoryBlobs()
  if (driver !== 's3') return openFileBlobs(folder ?? path.join(config.data, 'blobs'), { url, log })
  // Only who has an S3 server loads what speaks to it.
  const { S3Blobs } = await import('./blob-s3.ts')
  return new S3Blobs({
    endpoint: s3.endpoint,
    region: s3.region,
    bucket: s3.bucket,
    pathStyle: s3.path_style,
    accessKey: s3.access_key?.reveal() ?? '',
    secretKey: s3.secret_key?.reveal() ?? '',
    publicUrl: s3.public_url,
    spool: path.join(config.data, 'spool'),
    timeout: s3.timeout,
    log,
  })
}
