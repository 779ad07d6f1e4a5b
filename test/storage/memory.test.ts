import { openMemoryStore } from '../../src/storage/memory.ts'
import { conformance } from './conformance.ts'

conformance('memory', async () => openMemoryStore())
