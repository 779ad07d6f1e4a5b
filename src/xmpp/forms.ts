import { type Element, findChild, findChildren, NS, textOf, xml } from '../xml/index.ts'

/** XEP-0004 3.2. */
type FormType = 'form' | 'submit' | 'cancel' | 'result'

/** A field as it is sent; `type` may be left out of a submission or a result (XEP-0004 3.3). */
export interface FormField {
  readonly var: string
  readonly type?: string
  readonly label?: string
  readonly values: readonly string[]
  readonly required?: boolean
  /** A longer explanation than the label. */
  readonly desc?: string
  /** What may be chosen, for the list types. */
  readonly options?: readonly FormOption[]
  /** Beside the options, or without any, values of one's own may be given (XEP-0122 3.2). */
  readonly open?: true
}

interface FormOption {
  readonly value: string
  readonly label?: string
}

/** What people read above the fields. */
export interface FormHead {
  readonly title?: string
  readonly instructions?: string
}

/** A data form whose FORM_TYPE says what its fields mean (XEP-0004, XEP-0068). */
export function dataForm(
  type: FormType,
  formType: string,
  fields: readonly FormField[],
  { title, instructions }: FormHead = {},
): Element {
  return xml(
    'x',
    { xmlns: NS.DATA, type },
    title !== undefined && xml('title', {}, title),
    instructions !== undefined && xml('instructions', {}, instructions),
    fieldElement({ var: 'FORM_TYPE', type: 'hidden', values: [formType] }),
    fields.map(fieldElement),
  )
}

/** Several results in one form, as a table (XEP-0004 3.4): `columns` in order, then the rows' values by `var`. */
export function tableForm(
  formType: string,
  columns: readonly Omit<FormField, 'values'>[],
  rows: readonly Readonly<Record<string, string | readonly string[]>>[],
): Element {
  return xml(
    'x',
    { xmlns: NS.DATA, type: 'result' },
    fieldElement({ var: 'FORM_TYPE', type: 'hidden', values: [formType] }),
    xml(
      'reported',
      {},
      columns.map(column => fieldElement({ ...column, values: [] })),
    ),
    rows.map(row =>
      xml(
        'item',
        {},
        columns.map(column => fieldElement({ var: column.var, values: [row[column.var] ?? ''].flat() })),
      ),
    ),
  )
}

function fieldElement(field: FormField): Element {
  const options = field.options?.map(({ value, label }) => xml('option', { label }, xml('value', {}, value)))
  return xml(
    'field',
    { var: field.var, type: field.type, label: field.label },
    field.desc !== undefined && xml('desc', {}, field.desc),
    field.required === true && xml('required'),
    field.values.map(value => xml('value', {}, value)),
    options,
    field.open === true && xml('validate', { xmlns: NS.DATA_VALIDATE, datatype: 'xs:string' }, xml('open')),
  )
}

/** The values of each field of a form, by `var`; of fields that come twice, the first counts. */
export function formValues(form: Element): Map<string, string[]> {
  const values = new Map<string, string[]>()
  for (const field of findChildren(form, 'field', NS.DATA)) {
    const name = field.attrs['var']
    if (name === undefined || values.has(name)) continue
    values.set(name, findChildren(field, 'value', NS.DATA).map(textOf))
  }
  return values
}

/** The form within an element, if there is one of this FORM_TYPE. */
export function findForm(el: Element, formType: string): Element | undefined {
  return findChildren(el, 'x', NS.DATA).find(form => formTypeOf(form) === formType)
}

/** XEP-0068 3: the FORM_TYPE; in forms other than submissions its field must be hidden. */
export function formTypeOf(form: Element): string | undefined {
  for (const field of findChildren(form, 'field', NS.DATA)) {
    if (field.attrs['var'] !== 'FORM_TYPE') continue
    if (form.attrs['type'] !== 'submit' && field.attrs['type'] !== 'hidden') return undefined
    const value = findChild(field, 'value', NS.DATA)
    return value && textOf(value)
  }
  return undefined
}
