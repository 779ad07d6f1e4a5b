import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/**
 * The server's metrics, one registry a server. Labels come from fixed sets only (kinds, directions), never from what a
 * stranger sends. Counters on the hot path are plain numbers, read when somebody asks.
 */
export class Metrics {
  readonly registry = new Registry()
  readonly #boxes = new Map<string, { value: number }>()

  constructor(options: { process?: boolean } = {}) {
    if (options.process === true) collectDefaultMetrics({ register: this.registry, prefix: 'hermod_' })
  }

  /** A counter as cheap as an addition: `const c = metrics.counter(...); c.value++`. */
  counter(name: string, help: string): { value: number } {
    const there = this.#boxes.get(name)
    if (there !== undefined) return there
    const box = { value: 0 }
    this.#boxes.set(name, box)
    const counter = new Counter({
      name: `hermod_${name}`,
      help,
      registers: [this.registry],
      collect() {
        counter.reset()
        counter.inc(box.value)
      },
    })
    return box
  }

  /** A gauge that is read when asked for. */
  gauge(name: string, help: string, read: () => number | Promise<number>): void {
    new Gauge({
      name: `hermod_${name}`,
      help,
      registers: [this.registry],
      async collect() {
        this.set(await read())
      },
    })
  }

  /** What returns is to be told each value; `buckets` are upper bounds. */
  histogram(name: string, help: string, buckets: number[]): (value: number) => void {
    const histogram = new Histogram({ name: `hermod_${name}`, help, buckets, registers: [this.registry] })
    return value => histogram.observe(value)
  }

  /** Current values, one line a metric: name and value (histograms as count and sum). */
  async values(): Promise<{ name: string; value: number }[]> {
    const all = await this.registry.getMetricsAsJSON()
    return all.flatMap(metric =>
      metric.values
        .filter(v => !('metricName' in v) || /_(count|sum)$/.test(String(v.metricName)))
        .map(v => ({
          name: `${'metricName' in v && v.metricName !== undefined ? v.metricName : metric.name}${labels(v.labels)}`,
          value: v.value,
        })),
    )
  }
}

function labels(set: Partial<Record<string, string | number>>): string {
  const pairs = Object.entries(set).map(([k, v]) => `${k}="${v}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}
