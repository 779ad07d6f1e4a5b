import { federated } from './federated.ts'
import { shortly } from './shortly.ts'

// With servers of other makes, those that have most in them.
shortly(federated.filter(({ name, peer }) => peer === 'hermod' || name.endsWith('-cut') || name.endsWith('-all')))
