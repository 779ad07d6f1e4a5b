/** The part of tr46 (UTS #46) that hermod uses; the package ships no types. */
declare module 'tr46' {
  export interface Options {
    checkBidi?: boolean
    checkHyphens?: boolean
    checkJoiners?: boolean
    useSTD3ASCIIRules?: boolean
    transitionalProcessing?: boolean
  }
  export function toUnicode(domain: string, options?: Options): { domain: string; error: boolean }
}
