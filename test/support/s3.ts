import path from 'node:path'
import type { TestContext } from 'node:test'
import { bringS3, S3Server } from '../../scripts/s3.ts'
import type { BlobStore } from '../../src/storage/blob.ts'
import { S3Blobs } from '../../src/storage/blob-s3.ts'
import { emptyFolder } from './folder.ts'

/** Why there is none here (no Python, no way to PyPI); false where there is one. */
export async function missingS3(): Promise<string | false> {
  try {
    await bringS3()
    return false
  } catch (error) {
    return `no S3 server can be had here: ${String(error).split('\n')[0]}`
  }
}

/** A server of its own, and a bucket in it; gone with the test. */
export async function bucket(
  t: TestContext,
  name: string,
  timeout: number,
): Promise<{ s3: S3Server; blobs: BlobStore }> {
  const folder = await emptyFolder(t)
  const s3 = await S3Server.start(folder)
  t.after(() => s3.stop())
  const { endpoint, region, accessKey, secretKey } = s3
  const spool = path.join(folder, 'spool')
  return {
    s3,
    blobs: new S3Blobs({ endpoint, region, accessKey, secretKey, bucket: name, pathStyle: true, spool, timeout }),
  }
}
