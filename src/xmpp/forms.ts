import { type Element, findChild, findChildren, NS, textOf, xml } from '../xml/index.ts'

/** XEP-0004 3.2. */
export type FormType = 'form' | 'submit' | 'cancel' | 'result'

/** A field as it is sent; `type` may be left out of a submission or a result (XEP-0004 3.3). */
export interface FormField {
  readonly var: string
  readonly type?: string
  readonly label?: string
  readonly values: readonly string[]
}

/** A data form whose FORM_TYPE says what its fields mean (XEP-0004, XEP-0068). */
export function dataForm(type: FormType, formType: string, fields: readonly FormField[]): Element {
  return xml(
    'x',
    { xmlns: NS.DATA, type },
    fieldElement({ var: 'FORM_TYPE', type: 'hidden', values: [formType] }),
    fields.map(fieldElement),
  )
}

function fieldElement(field: FormField): Element {
  const values = field.values.map(value => xml('value', {}, value))
  return xml('field', { var: field.var, type: field.type, label: field.label }, values)
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
