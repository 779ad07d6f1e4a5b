import { scenarios } from './scenarios.ts'
import { shortly } from './shortly.ts'

shortly(scenarios)
