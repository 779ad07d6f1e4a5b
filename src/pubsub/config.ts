import { cut } from '../util/text.ts'
import { type Element, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { type FormField, formTypeOf, formValues } from '../xmpp/forms.ts'
import { pubsubError } from './errors.ts'
import type { NodeConfig } from './types.ts'

/** The most that a node of this server can have. */
export interface Limits {
  /** Items of one node. */
  readonly items: number
  /** Bytes of one item. */
  readonly payload: number
  /** Seconds that an item lives. */
  readonly expire: number
}

/** Characters of a title and its like. */
const MAX_TEXT = 1024
const MAX_GROUPS = 100
/** Characters of the names of all groups of a node: configurations are kept in memory. */
const MAX_GROUP_TEXT = 4096

type Reader = (values: readonly string[], limits: Limits) => unknown

interface Field {
  readonly type: 'boolean' | 'text-single' | 'list-single' | 'list-multi'
  readonly label: string
  readonly options?: readonly string[]
  /** The value; undefined where it cannot be one. */
  readonly read: Reader
}

/** XEP-0004 3.3 and XML Schema: these four texts, and nothing else. */
export function readBoolean(text: string | undefined): boolean | undefined {
  if (text === '1' || text === 'true') return true
  if (text === '0' || text === 'false') return false
  return undefined
}

const flag = (label: string): Field => ({
  type: 'boolean',
  label,
  read: values => (values.length === 1 ? readBoolean(values[0]) : undefined),
})
const text = (label: string): Field => ({
  type: 'text-single',
  label,
  read: values => (values.length <= 1 && (values[0] ?? '').length <= MAX_TEXT ? (values[0] ?? '') : undefined),
})
const choice = (label: string, ...options: string[]): Field => ({
  type: 'list-single',
  label,
  options,
  read: values => (values.length === 1 && options.includes(values[0]!) ? values[0] : undefined),
})
/** A number up to the server's limit, or `max` for just that. */
const amount = (label: string, limit: (limits: Limits) => number, least: number): Field => ({
  type: 'text-single',
  label,
  read(values, limits) {
    const value = values.length === 1 ? values[0]!.trim() : ''
    if (value === 'max') return value
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN
    return number >= least && number <= limit(limits) ? number : undefined
  },
})

/** What may be configured (XEP-0060 16.4.4), by `var` without `pubsub#`. */
const FIELDS: Readonly<Record<keyof NodeConfig, Field>> = {
  title: text('A name for the node'),
  description: text('What the node is about'),
  type: text('Namespace of the payloads'),
  language: text('Language of the payloads'),
  access_model: choice('Who may subscribe and read', 'open', 'presence', 'roster', 'authorize', 'whitelist'),
  roster_groups_allowed: {
    type: 'list-multi',
    label: 'Roster groups that may subscribe and read',
    read: values => (values.length <= MAX_GROUPS && values.join('').length <= MAX_GROUP_TEXT ? [...values] : undefined),
  },
  publish_model: choice('Who may publish', 'publishers', 'subscribers', 'open'),
  persist_items: flag('Keep items'),
  max_items: amount('Most items to keep, or max', limits => limits.items, 1),
  item_expire: amount('Seconds after which an item is deleted, or max', limits => limits.expire, 1),
  max_payload_size: {
    type: 'text-single',
    label: 'Largest payload in bytes',
    read(values, limits) {
      const number = values.length === 1 && /^\d{1,9}$/.test(values[0]!) ? Number(values[0]) : 0
      return number >= 1 && number <= limits.payload ? number : undefined
    },
  },
  send_last_published_item: choice('When to send the last item', 'never', 'on_sub', 'on_sub_and_presence'),
  deliver_notifications: flag('Send notifications'),
  deliver_payloads: flag('Send payloads with notifications'),
  notify_config: flag('Tell subscribers when the configuration changes'),
  notify_delete: flag('Tell subscribers when the node is deleted'),
  notify_retract: flag('Tell subscribers when items are removed'),
  notify_sub: flag('Tell owners of new subscribers'),
  notification_type: choice('Type of the messages that notify', 'normal', 'headline', 'chat'),
  itemreply: choice('Whom items name', 'owner', 'publisher', 'none'),
  purge_offline: flag('Delete all items when the publisher goes offline'),
  subscribe: flag('Allow subscriptions'),
}
const NAMES = Object.keys(FIELDS) as (keyof NodeConfig)[]

/** XEP-0060 4.5: all nodes here are leaves, and say so. */
const NODE_TYPE = choice('The type of node', 'leaf')

/** Fields that may come, and change nothing: what they say is so, or is of no node here. */
const IGNORED = new Set([
  'FORM_TYPE',
  'pubsub#body_xslt',
  'pubsub#dataform_xslt',
  'pubsub#presence_based_delivery',
  'pubsub#tempsub',
  'pubsub#contact',
  'pubsub#collection',
  'pubsub#children',
  'pubsub#publish_node_full',
])

const COMMON: NodeConfig = {
  title: '',
  description: '',
  type: '',
  language: '',
  access_model: 'open',
  roster_groups_allowed: [],
  publish_model: 'publishers',
  persist_items: true,
  max_items: 'max',
  item_expire: 'max',
  max_payload_size: 0,
  send_last_published_item: 'on_sub_and_presence',
  deliver_notifications: true,
  deliver_payloads: true,
  notify_config: false,
  notify_delete: true,
  notify_retract: true,
  notify_sub: false,
  notification_type: 'headline',
  itemreply: 'none',
  purge_offline: false,
  subscribe: true,
}

/** Of an account's nodes (XEP-0163 5): for contacts, the last item only. */
export function pepDefaults(limits: Limits): NodeConfig {
  return { ...COMMON, access_model: 'presence', max_items: 1, max_payload_size: limits.payload }
}

const PRIVATE: Partial<NodeConfig> = { access_model: 'whitelist', max_items: 'max', send_last_published_item: 'never' }

/** Nodes whose own specification says how they are to be: also where a client forgets it. */
const WELL_KNOWN: Readonly<Record<string, Partial<NodeConfig>>> = {
  [NS.BOOKMARKS2]: PRIVATE, // XEP-0402 4.3
  [NS.MDS]: PRIVATE, // XEP-0490 3
  [NS.BOOKMARKS]: { access_model: 'whitelist' }, // XEP-0048, XEP-0223
  [NS.CONTACTS]: { access_model: 'whitelist', max_items: 'max' }, // XEP-0292 5: what one notes of others
}

/** What is special about an account's node of this name. */
export function wellKnown(name: string): Partial<NodeConfig> {
  return Object.hasOwn(WELL_KNOWN, name) ? WELL_KNOWN[name]! : {}
}

/** Of the nodes of the service of a host. */
export function serviceDefaults(limits: Limits): NodeConfig {
  return { ...COMMON, max_payload_size: limits.payload, send_last_published_item: 'on_sub', itemreply: 'publisher' }
}

/**
 * What a submitted form asks for (XEP-0060 8.1.3, 8.2.4); fields that it leaves out are left as they are. Undefined for a form
 * that was cancelled. Throws where the form is another one, or a value cannot be.
 */
export function readConfig(form: Element | undefined, limits: Limits): Partial<NodeConfig> | undefined {
  if (form === undefined) return {}
  if (form.attrs['type'] === 'cancel') return undefined
  if (form.attrs['type'] !== 'submit') throw new StanzaError('bad-request', 'a form is submitted or cancelled')
  const type = formTypeOf(form)
  const values = formValues(form)
  // XEP-0068 3.1: a form without fields needs no FORM_TYPE.
  if (values.size > 0 && type !== NS.PUBSUB_NODE_CONFIG) {
    throw new StanzaError('bad-request', `the FORM_TYPE of a configuration is ${NS.PUBSUB_NODE_CONFIG}`)
  }
  const config: Partial<NodeConfig> = {}
  for (const [name, given] of values) read(config, name, given, limits, 'not-acceptable', 'ignore')
  return config
}

/** The preconditions of a publication (XEP-0060 7.1.5). A field that is unknown refuses it. */
export function readPublishOptions(form: Element | undefined, limits: Limits): Partial<NodeConfig> {
  if (form === undefined) return {}
  if (form.attrs['type'] !== 'submit' || formTypeOf(form) !== NS.PUBSUB_PUBLISH_OPTIONS) {
    throw new StanzaError('bad-request', `publish-options are a submitted form of ${NS.PUBSUB_PUBLISH_OPTIONS}`)
  }
  const config: Partial<NodeConfig> = {}
  for (const [name, given] of formValues(form)) read(config, name, given, limits, 'conflict', 'refuse')
  return config
}

function read(
  config: Partial<NodeConfig>,
  name: string,
  given: readonly string[],
  limits: Limits,
  condition: 'not-acceptable' | 'conflict',
  unknown: 'ignore' | 'refuse',
): void {
  const key = name.startsWith('pubsub#') ? (name.slice(7) as keyof NodeConfig) : undefined
  const field = key !== undefined && Object.hasOwn(FIELDS, key) ? FIELDS[key] : undefined
  if (name === 'pubsub#node_type' && given[0] === 'collection') {
    throw pubsubError('feature-not-implemented', 'unsupported', { feature: 'collections' })
  }
  if (name === 'pubsub#node_type' && NODE_TYPE.read(given, limits) !== undefined) return
  if (key === undefined || field === undefined) {
    if (unknown === 'ignore' || name === 'FORM_TYPE') {
      if (IGNORED.has(name) || !name.startsWith('pubsub#')) return
      throw new StanzaError('not-acceptable', `${cut(name, 100)} cannot be configured here`)
    }
    throw pubsubError(condition, 'precondition-not-met', { text: `${cut(name, 100)} is not known here` })
  }
  const value = field.read(given, limits)
  if (value === undefined) {
    if (condition === 'conflict') {
      throw pubsubError(condition, 'precondition-not-met', { text: `${name} cannot be that here` })
    }
    if (key === 'access_model') throw pubsubError(condition, 'unsupported-access-model')
    throw new StanzaError(condition, `${name} cannot be that here`)
  }
  Object.assign(config, { [key]: value })
}

/** The first option that a node does not meet; undefined where it meets all. */
export function unmet(config: NodeConfig, wanted: Partial<NodeConfig>, limits: Limits): keyof NodeConfig | undefined {
  return (Object.keys(wanted) as (keyof NodeConfig)[]).find(key => !meets(config, key, wanted[key], limits))
}

function meets(config: NodeConfig, key: keyof NodeConfig, wanted: unknown, limits: Limits): boolean {
  const has = config[key]
  if (key === 'roster_groups_allowed') {
    return String([...config.roster_groups_allowed].sort()) === String([...(wanted as readonly string[])].sort())
  }
  if (key === 'max_items') return limit(has, limits.items) === limit(wanted, limits.items)
  if (key === 'item_expire') return limit(has, limits.expire) === limit(wanted, limits.expire)
  return has === wanted
}

function limit(value: unknown, most: number): unknown {
  return value === 'max' ? most : value
}

/** Items that a node keeps. */
export function itemsKept(config: NodeConfig, limits: Limits): number {
  return config.max_items === 'max' ? limits.items : Math.min(config.max_items, limits.items)
}

/** Ms that its items live. */
export function lifetime(config: NodeConfig, limits: Limits): number {
  return 1000 * (config.item_expire === 'max' ? limits.expire : Math.min(config.item_expire, limits.expire))
}

/** The configuration as a form to fill in, or as a result (XEP-0060 8.2.2, 8.2.5.3). */
export function configForm(type: 'form' | 'result', config: NodeConfig): Element {
  const form = xml('x', { xmlns: NS.DATA, type }, formType(NS.PUBSUB_NODE_CONFIG))
  form.append(fieldElement('node_type', NODE_TYPE, ['leaf'], type === 'form'))
  for (const name of NAMES) form.append(fieldElement(name, FIELDS[name], valuesOf(config[name]), type === 'form'))
  return form
}

/** What is told of a node in service discovery (XEP-0060 5.4). */
export function metadataForm(config: NodeConfig, more: readonly FormField[]): Element {
  const form = xml('x', { xmlns: NS.DATA, type: 'result' }, formType(NS.PUBSUB_META_DATA))
  for (const name of [
    'title',
    'description',
    'type',
    'language',
    'access_model',
    'publish_model',
    'max_items',
  ] as const) {
    if (config[name] !== '') form.append(fieldElement(name, FIELDS[name], valuesOf(config[name]), false))
  }
  for (const { var: name, values } of more) {
    form.append(
      xml(
        'field',
        { var: name },
        values.map(value => xml('value', {}, value)),
      ),
    )
  }
  return form
}

function formType(value: string): Element {
  return xml('field', { var: 'FORM_TYPE', type: 'hidden' }, xml('value', {}, value))
}

function fieldElement(name: string, { type, label, options = [] }: Field, values: readonly string[], full: boolean) {
  const field = xml('field', { var: `pubsub#${name}`, type, label: full ? label : undefined })
  if (full) for (const option of options) field.append(xml('option', {}, xml('value', {}, option)))
  for (const value of values) field.append(xml('value', {}, value))
  return field
}

function valuesOf(value: NodeConfig[keyof NodeConfig]): readonly string[] {
  if (typeof value === 'object') return value
  if (typeof value === 'boolean') return [value ? '1' : '0']
  return value === '' ? [] : [String(value)]
}
