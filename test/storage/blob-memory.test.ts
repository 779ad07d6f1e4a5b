import { openMemoryBlobs } from '../../src/storage/blob-memory.ts'
import { blobConformance } from './blob-conformance.ts'

blobConformance('memory', async () => openMemoryBlobs())
