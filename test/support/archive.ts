/** The archive as a client sees it (XEP-0313). */
import type { RawClient } from './rawclient.ts'
import { child, type XmlElement, xmlText } from './rawxml.ts'

export const MAM = 'urn:xmpp:mam:2'

export interface Result {
  id: string
  stamp: string
  message: XmlElement
  body: string | undefined
}

export interface Answer {
  results: Result[]
  bodies: (string | undefined)[]
  complete: boolean
  first: string | undefined
  last: string | undefined
  count: number | undefined
}

let queries = 0

/** Asks for a page; `rsm` is what stands in `<set/>`, `more` what stands beside the form. */
export async function query(
  client: RawClient,
  fields: Record<string, string | string[]> = {},
  rsm?: string,
  more = '',
): Promise<Answer> {
  const queryid = `q${++queries}`
  const names = Object.entries(fields)
  const form =
    names.length === 0
      ? ''
      : `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>${MAM}</value></field>${names
          .map(([name, value]) => {
            const values = [value].flat().map(text => `<value>${xmlText(text)}</value>`)
            return `<field var='${name}'>${values.join('')}</field>`
          })
          .join('')}</x>`
  const set = rsm === undefined ? '' : `<set xmlns='http://jabber.org/protocol/rsm'>${rsm}</set>`
  const results: Result[] = []
  const listen = (el: XmlElement): void => {
    const result = resultOf(el, queryid)
    if (result !== undefined) results.push(result)
  }
  client.on('stanza', listen)
  try {
    const iq = await client.request('set', `<query xmlns='${MAM}' queryid='${queryid}'>${form}${set}${more}</query>`)
    const fin = child(iq, 'fin', MAM)
    const page = child(fin, 'set', 'http://jabber.org/protocol/rsm')
    return {
      results,
      bodies: results.map(r => r.body),
      complete: fin?.attrs['complete'] === 'true',
      first: child(page, 'first')?.text,
      last: child(page, 'last')?.text,
      count: child(page, 'count') === undefined ? undefined : Number(child(page, 'count')!.text),
    }
  } finally {
    client.off('stanza', listen)
  }
}

function resultOf(el: XmlElement, queryid: string): Result | undefined {
  const result = child(el, 'result', MAM)
  if (result === undefined || result.attrs['queryid'] !== queryid) return undefined
  const forwarded = child(result, 'forwarded', 'urn:xmpp:forward:0')
  const message = child(forwarded, 'message', 'jabber:client')!
  return {
    id: result.attrs['id']!,
    stamp: child(forwarded, 'delay', 'urn:xmpp:delay')!.attrs['stamp']!,
    message,
    body: child(message, 'body')?.text,
  }
}
