import { type HttpHandler, type HttpResponse, HttpRoutes, plainAnswer } from './core/http.ts'
import type { Server } from './server.ts'
import type { Store } from './storage/store.ts'

/** A store that has not taken a write in so long counts as one that takes none (ms). */
const WRITE_TIMEOUT = 5000
/** However often it is asked, the store is written once in so long (ms). */
const PROBE_EVERY = 1000
const PROBE = { name: 'probe' }

/** `/metrics`, `/health` and `/ready`, for a listener whose option says who may ask. */
export function operationRoutes(server: Server): HttpRoutes {
  const routes = new HttpRoutes()
  const healthy = storeProbe(server.store)
  const get = (path: string, handler: HttpHandler): unknown => routes.add('server', 'GET', path, handler)
  get('/metrics', async (): Promise<HttpResponse> => {
    const { type, body } = await server.metrics.text()
    return { status: 200, headers: { 'Content-Type': type }, body }
  })
  get('/health', async () => {
    const problem = await healthy()
    return problem === undefined ? plainAnswer(200, 'ok') : plainAnswer(503, problem)
  })
  // Not while it starts, drains or stops.
  get('/ready', () =>
    server.state === 'running' ? plainAnswer(200, 'ready') : plainAnswer(503, `not ready: ${server.state}`),
  )
  return routes
}

/** Says what is wrong with the store, if anything is: it is written, and read back by nobody. */
function storeProbe(store: Store): () => Promise<string | undefined> {
  const table = store.table<number>('', PROBE)
  let at = Number.NEGATIVE_INFINITY
  let last: Promise<string | undefined> = Promise.resolve(undefined)
  const probe = async (): Promise<string | undefined> => {
    const { promise: late, resolve } = Promise.withResolvers<string>()
    const timer = setTimeout(() => resolve('the store has not taken a write in time'), WRITE_TIMEOUT)
    const written = table.put(['health'], [], Date.now()).then(
      () => undefined,
      () => 'the store takes no writes',
    )
    return Promise.race([written, late]).finally(() => clearTimeout(timer))
  }
  return () => {
    if (performance.now() - at < PROBE_EVERY) return last
    at = performance.now()
    last = probe()
    return last
  }
}
