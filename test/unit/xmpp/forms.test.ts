import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseElement, serialize } from '../../../src/xml/index.ts'
import { dataForm, findForm, formTypeOf, formValues, tableForm } from '../../../src/xmpp/forms.ts'

test('a form is written and read', () => {
  const form = dataForm('result', 'urn:example', [
    { var: 'colours', type: 'list-multi', values: ['red', 'blue'] },
    { var: 'none', values: [] },
  ])
  assert.equal(
    serialize(form),
    "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:example</value></field>" +
      "<field var='colours' type='list-multi'><value>red</value><value>blue</value></field><field var='none'/></x>",
  )
  assert.equal(formTypeOf(form), 'urn:example')
  assert.deepEqual(Object.fromEntries(formValues(form)), {
    FORM_TYPE: ['urn:example'],
    colours: ['red', 'blue'],
    none: [],
  })
})

test('a form to fill out says what it is for, what must be given and what may be chosen', () => {
  const options = [{ value: 'red', label: 'Red' }, { value: 'blue' }]
  const colour = { var: 'colour', type: 'list-single', label: 'Colour', desc: 'Of the door', required: true, options }
  const form = dataForm('form', 'urn:example', [{ ...colour, values: ['red'] }], {
    title: 'Door',
    instructions: 'Choose.',
  })
  assert.equal(
    serialize(form),
    "<x xmlns='jabber:x:data' type='form'><title>Door</title><instructions>Choose.</instructions>" +
      "<field var='FORM_TYPE' type='hidden'><value>urn:example</value></field>" +
      "<field var='colour' type='list-single' label='Colour'><desc>Of the door</desc><required/><value>red</value>" +
      "<option label='Red'><value>red</value></option><option><value>blue</value></option></field></x>",
  )
})

test('a table has a head and rows; what a row lacks is empty', () => {
  const form = tableForm('urn:example', [{ var: 'a', label: 'A' }, { var: 'b' }], [{ a: '1', b: '2' }, { a: '3' }])
  assert.equal(
    serialize(form),
    "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:example</value></field>" +
      "<reported><field var='a' label='A'/><field var='b'/></reported>" +
      "<item><field var='a'><value>1</value></field><field var='b'><value>2</value></field></item>" +
      "<item><field var='a'><value>3</value></field><field var='b'><value></value></field></item></x>",
  )
})

test('only a submission may have a FORM_TYPE that is not hidden', () => {
  const form = (type: string) =>
    parseElement(
      `<x xmlns='jabber:x:data' type='${type}'><field var='FORM_TYPE'><value>urn:example</value></field></x>`,
    )
  assert.equal(formTypeOf(form('submit')), 'urn:example')
  assert.equal(formTypeOf(form('result')), undefined)
})

test('of several forms the one of the type is found', () => {
  const query = parseElement('<query xmlns="urn:q"/>')
  query.append(dataForm('submit', 'urn:a', []), dataForm('submit', 'urn:b', [{ var: 'x', values: ['1'] }]))
  assert.deepEqual(formValues(findForm(query, 'urn:b')!).get('x'), ['1'])
  assert.equal(findForm(query, 'urn:c'), undefined)
})

test('of a field that comes twice the first counts, and fields of other namespaces do not', () => {
  const form = parseElement(
    "<x xmlns='jabber:x:data' type='submit'><field var='a'><value>1</value></field><field var='a'><value>2</value></field>" +
      "<field xmlns='urn:other' var='b'><value>3</value></field><field><value>4</value></field></x>",
  )
  assert.deepEqual([...formValues(form)], [['a', ['1']]])
})
