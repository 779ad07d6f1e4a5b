import { Archive } from '../../../src/archive/archive.ts'
import { Chunks } from '../../../src/core/chunks.ts'
import type { Store } from '../../../src/storage/store.ts'
import type { IdGenerator } from '../../../src/util/ids.ts'

/** The archives of the owners of a domain, in a store. */
export function archiveOf(store: Store, ids: IdGenerator, domain = 'example.org'): Archive {
  return new Archive({
    domain,
    store,
    tables: {
      messages: store.table(domain, { name: 'archive', codec: 'bytes' }),
      peers: new Chunks(store, store.table(domain, { name: 'archive_peers' })),
      indexed: store.table(domain, { name: 'archive_indexed' }),
      counts: store.table(domain, { name: 'archive_count' }),
    },
    ids,
  })
}
