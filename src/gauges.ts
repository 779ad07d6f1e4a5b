import type { Host } from './core/host.ts'
import type { Metrics } from './core/metrics.ts'
import { QueueCount } from './core/queue/count.ts'
import type { Server } from './server.ts'
import type { CommitReport } from './storage/groupcommit.ts'

/** The numbers of a server that are read when somebody asks. */
export function addGauges(server: Server): void {
  const { metrics, store } = server
  const count = new QueueCount(() => server.hosts)
  const inFlight = (host: Host) => [...host.accounts.values()].reduce((total, { queue }) => total + queue.size, 0)
  const sum = (value: (host: Host) => number) => () => server.hosts.reduce((total, host) => total + value(host), 0)
  metrics.gauge('sessions', 'Sessions, connected or waiting to be resumed', () => server.sessionCount)
  metrics.gauge('streams', 'Client connections', () => server.streams().length)
  metrics.gauge('component_queue', 'Messages that wait for components, or that these have not confirmed', () => {
    return server.parts.components.waiting
  })
  metrics.gauge('component_connections', 'Connections of components that have logged in', () => {
    return [...server.components].reduce((total, { connections }) => total + connections.length, 0)
  })
  metrics.gauge(
    'accounts_loaded',
    'Accounts in memory',
    sum(host => host.accounts.size),
  )
  metrics.gauge('queue_in_flight', 'Messages in memory: on their way to the disk or to a client', sum(inFlight))
  metrics.gauge('queue_waiting', 'Messages in the store that nobody has acknowledged yet, as last counted', () =>
    count.value(),
  )
  metrics.gauge('store_waiting_writes', 'Rows that wait for the disk', () => store.waiting?.().rows ?? 0)
  metrics.gauge('store_waiting_bytes', 'Bytes of the rows that wait for the disk', () => store.waiting?.().bytes ?? 0)
}

/** What is to be told of each batch that goes to the disk. */
export function commitMetrics(metrics: Metrics): (report: CommitReport) => void {
  const rows = metrics.counter('store_rows_total', 'Rows written')
  const bytes = metrics.counter('store_bytes_total', 'Bytes written, about')
  const failed = metrics.counter('store_failed_batches_total', 'Batches that the disk refused')
  const batches = metrics.counter('store_batches_total', 'Batches that went to the disk')
  const seconds = metrics.counter('store_batch_seconds_total', 'Time that batches took to the disk')
  let longest = 0
  metrics.gauge('store_batch_seconds_max', 'The longest time that a batch took since this was asked last', () => {
    const value = longest
    longest = 0
    return value
  })
  return report => {
    const took = report.duration / 1000
    batches.value++
    seconds.value += took
    longest = Math.max(longest, took)
    if (report.error !== undefined) {
      failed.value++
      return
    }
    rows.value += report.rows
    bytes.value += report.size
  }
}
