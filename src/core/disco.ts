import type { Element } from '../xml/index.ts'
import { dataForm, type FormField } from '../xmpp/forms.ts'
import type { IqTarget } from './iq.ts'
import type { Identity } from './module.ts'

/** XEP-0030 4. */
export interface DiscoItem {
  readonly jid: string
  readonly name?: string
  readonly node?: string
}

/** What is said of a namespace that somebody else serves (XEP-0355), in place of what modules say of it. */
export interface DiscoOverlay {
  readonly scope: IqTarget
  readonly ns: string
  readonly identities: readonly Identity[]
  readonly features: readonly string[]
  readonly forms: readonly Element[]
}

/** What the host and its accounts say of themselves (XEP-0030), gathered from the modules. */
export class DiscoRegistry {
  readonly #features: Record<IqTarget, Map<string, number>> = { server: new Map(), account: new Map() }
  readonly #identities: Record<IqTarget, Identity[]> = { server: [], account: [] }
  readonly #items: DiscoItem[] = []
  readonly #forms = new Map<() => Element, string>()
  readonly #overlays = new Set<DiscoOverlay>()
  readonly #streamFeatures = new Set<() => Element>()
  /** Rises with every change: who caches what follows from this, compares. */
  version = 0

  addFeature(scope: IqTarget, ns: string): () => void {
    const map = this.#features[scope]
    map.set(ns, (map.get(ns) ?? 0) + 1)
    this.version++
    return () => {
      const count = map.get(ns)! - 1
      if (count > 0) map.set(ns, count)
      else map.delete(ns)
      this.version++
    }
  }

  addIdentity(scope: IqTarget, identity: Identity): () => void {
    const list = this.#identities[scope]
    list.push(identity)
    this.version++
    return () => {
      list.splice(list.indexOf(identity), 1)
      this.version++
    }
  }

  /** Among the items of the host itself: a domain below it. */
  addItem(item: DiscoItem): () => void {
    this.#items.push(item)
    return () => this.#items.splice(this.#items.indexOf(item), 1)
  }

  /** What the host says of itself beyond identities and features (XEP-0128). */
  addForm(formType: string, fields: readonly FormField[]): () => void {
    const make = () => dataForm('result', formType, fields)
    this.#forms.set(make, formType)
    this.version++
    return () => {
      this.#forms.delete(make)
      this.version++
    }
  }

  addStreamFeature(make: () => Element): () => void {
    this.#streamFeatures.add(make)
    return () => this.#streamFeatures.delete(make)
  }

  /** From now on this is said of a namespace, and nothing else. */
  overlay(overlay: DiscoOverlay): () => void {
    this.#overlays.add(overlay)
    this.version++
    return () => {
      this.#overlays.delete(overlay)
      this.version++
    }
  }

  #laid(scope: IqTarget): DiscoOverlay[] {
    return [...this.#overlays].filter(overlay => overlay.scope === scope)
  }

  features(scope: IqTarget): string[] {
    const own = [...this.#features[scope].keys()]
    const laid = this.#laid(scope)
    if (laid.length === 0) return own.sort()
    const left = own.filter(feature => !laid.some(({ ns }) => isOf(feature, ns)))
    return [...new Set([...left, ...laid.flatMap(({ features }) => features)])].sort()
  }

  identities(scope: IqTarget): readonly Identity[] {
    return [...this.#identities[scope], ...this.#laid(scope).flatMap(({ identities }) => identities)]
  }

  get items(): readonly DiscoItem[] {
    return this.#items
  }

  /** Of the host. */
  forms(): Element[] {
    const laid = this.#laid('server')
    const own = [...this.#forms].filter(([, type]) => !laid.some(({ ns }) => isOf(type, ns)))
    return [...own.map(([make]) => make()), ...laid.flatMap(({ forms }) => forms)]
  }

  streamFeatures(): Element[] {
    return [...this.#streamFeatures].map(make => make())
  }
}

/** `urn:x` and `urn:x#more`, but not `urn:xy`. */
function isOf(feature: string, ns: string): boolean {
  return feature === ns || feature.startsWith(`${ns}#`)
}
