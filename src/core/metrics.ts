import { setTimeout } from 'node:timers/promises'
import type { Registry } from 'prom-client'
import { checkName } from '../util/text.ts'

/** Ms; the event loop is looked at every 10. */
const FIRST_LOOKS = 50

interface Source {
  readonly kind: 'counter' | 'gauge'
  readonly help: string
  readonly read: () => number | Promise<number>
}

/**
 * The server's metrics, one registry a server. Labels come from fixed sets only (kinds, directions), never from what a
 * stranger sends. Counters on the hot path are plain numbers, read when somebody asks; until then the library that writes
 * them down is not even loaded.
 */
export class Metrics {
  readonly #process: boolean
  readonly #sources = new Map<string, Source>()
  readonly #boxes = new Map<string, { owner: string; box: { value: number } }>()
  #registry: Promise<Registry> | undefined

  /** @param options `process`: what Node tells of the process too, measured from the first time that somebody asks */
  constructor(options: { process?: boolean } = {}) {
    this.#process = options.process === true
  }

  /**
   * A counter as cheap as an addition: `const c = metrics.counter(...); c.value++`. One for all hosts that the owner (a module)
   * runs on. Throws where another has it.
   */
  counter(name: string, help: string, owner = 'the server'): { value: number } {
    checkName('counter', name)
    const there = this.#boxes.get(name)
    if (there?.owner === owner) return there.box
    if (there !== undefined || this.#sources.has(name)) {
      throw new Error(`${owner}: the metric ${name} is there already, of ${there?.owner ?? 'the server'}`)
    }
    const box = { value: 0 }
    this.#boxes.set(name, { owner, box })
    this.#add(name, { kind: 'counter', help, read: () => box.value })
    return box
  }

  /** A gauge that is read when asked for. */
  gauge(name: string, help: string, read: () => number | Promise<number>): void {
    this.#add(name, { kind: 'gauge', help, read })
  }

  /** The text that Prometheus reads, and what it is called. */
  async text(): Promise<{ type: string; body: string }> {
    const registry = await this.#whole()
    return { type: registry.contentType, body: await registry.metrics() }
  }

  /** Current values, one line a metric: name and value (histograms as count and sum). */
  async values(): Promise<{ name: string; value: number }[]> {
    const all = await (await this.#whole()).getMetricsAsJSON()
    return all.flatMap(metric =>
      metric.values
        .filter(v => !('metricName' in v) || /_(count|sum)$/.test(String(v.metricName)))
        .map(v => ({
          name: `${'metricName' in v && v.metricName !== undefined ? v.metricName : metric.name}${labels(v.labels)}`,
          value: v.value,
        })),
    )
  }

  #add(name: string, source: Source): void {
    this.#sources.set(name, source)
    void this.#registry?.then(registry => register(registry, name, source))
  }

  #whole(): Promise<Registry> {
    this.#registry ??= import('prom-client').then(async ({ collectDefaultMetrics, Registry }) => {
      const registry = new Registry()
      if (this.#process) collectDefaultMetrics({ register: registry, prefix: 'hermod_' })
      for (const [name, source] of this.#sources) await register(registry, name, source)
      // The delay of the event loop is none yet: the first who asks waits for the first looks at it.
      if (this.#process) await setTimeout(FIRST_LOOKS)
      return registry
    })
    return this.#registry
  }
}

async function register(registry: Registry, name: string, { kind, help, read }: Source): Promise<void> {
  const { Counter, Gauge } = await import('prom-client')
  const options = { name: `hermod_${name}`, help, registers: [registry] }
  if (kind === 'gauge') {
    new Gauge({
      ...options,
      async collect() {
        this.set(await read())
      },
    })
  } else {
    new Counter({
      ...options,
      async collect() {
        this.reset()
        this.inc(await read())
      },
    })
  }
}

function labels(set: Partial<Record<string, string | number>>): string {
  const pairs = Object.entries(set).map(([k, v]) => `${k}="${v}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}
