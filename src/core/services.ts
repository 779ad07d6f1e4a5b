/** What modules offer one another, by name; extended by declaration merging where a module declares its service. */
// biome-ignore lint/suspicious/noEmptyInterface: extended by declaration merging
export interface ServiceMap {}

export type ServiceName = keyof ServiceMap & string

/** The services of one host. */
export class Services {
  readonly #services = new Map<string, { owner: string; service: unknown }>()

  provide<N extends ServiceName>(owner: string, name: N, service: ServiceMap[N]): () => void {
    const there = this.#services.get(name)
    if (there !== undefined) throw new Error(`${owner}: the service ${name} is provided already, by ${there.owner}`)
    this.#services.set(name, { owner, service })
    return () => this.#services.delete(name)
  }

  /** Undefined while no running module provides it. */
  use<N extends ServiceName>(name: N): ServiceMap[N] | undefined {
    return this.#services.get(name)?.service as ServiceMap[N] | undefined
  }
}
