/** fast-check, with the seed that all tests have. */
import fc from 'fast-check'
import { SEED } from './chance.ts'

fc.configureGlobal({ seed: SEED })

export { fc }
