#!/usr/bin/env -S node --max-semi-space-size=16
import { launch } from './launch.js'

await launch('hermod')
