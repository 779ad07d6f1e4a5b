import { OptionError } from '../config/diagnostics.ts'
import { StreamError } from '../xmpp/errors.ts'
import { Component } from './component.ts'
import type { ComponentServer } from './server.ts'
import type { ComponentSettings } from './settings.ts'

/** The components of a server, by domain. */
export class Components {
  readonly #server: ComponentServer
  readonly #components = new Map<string, Component>()

  constructor(server: ComponentServer) {
    this.#server = server
  }

  get(domain: string): Component | undefined {
    return this.#components.get(domain)
  }

  [Symbol.iterator](): IterableIterator<Component> {
    return this.#components.values()
  }

  /**
   * Makes the domains that are new known to the router. What comes back makes the rest of the change, which cannot fail, or
   * takes back what was done.
   *
   * @throws OptionError where a domain is served already
   */
  prepare(wanted: readonly ComponentSettings[]): { apply(): void; undo(): void } {
    const { router } = this.#server
    const added: Component[] = []
    const undo = (): void => {
      for (const component of added) router.remove(component)
    }
    for (const settings of wanted) {
      if (this.#components.has(settings.name)) continue
      const component = new Component(settings, this.#server)
      try {
        router.add(component)
      } catch (error) {
        undo()
        throw new OptionError(settings.path, error instanceof Error ? error.message : String(error), error)
      }
      added.push(component)
    }
    const apply = (): void => {
      for (const component of added) this.#components.set(component.name, component)
      const names = new Map(wanted.map(settings => [settings.name, settings]))
      for (const component of [...this.#components.values()]) {
        const settings = names.get(component.name)
        if (settings !== undefined) component.configure(settings)
        else this.#remove(component)
      }
    }
    return { apply, undo }
  }

  #remove(component: Component): void {
    this.#components.delete(component.name)
    this.#server.router.remove(component)
    component.end(new StreamError('host-gone', 'this component is not served here any more'))
  }
}
