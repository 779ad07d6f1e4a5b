/**
 * What runs first, on whatever Node there is: plain JavaScript that an old one understands too. It says which Node is wanted
 * where this one will not do; else it runs the source of a clone, or what is published.
 */
import { existsSync } from 'node:fs'
import module from 'node:module'
import { fileURLToPath } from 'node:url'

/** @param {'hermod' | 'hermodctl'} name */
export async function launch(name) {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 22 || (major === 22 && minor < 18)) {
    console.error(
      `${name} needs Node 22.18 or newer, and this is ${process.versions.node} (${process.execPath}): install a newer one, or in a clone run it by npm, which brings its own (npm ci && npm start)`,
    )
    process.exit(1)
  }
  const source = new URL(`../src/cli/${name}.ts`, import.meta.url)
  if (!existsSync(source)) return import(new URL(`../dist/src/cli/${name}.js`, import.meta.url).href)
  // What TypeScript becomes is kept: to make it anew takes 20 MB of memory that do not come back, and a second.
  module.enableCompileCache?.(fileURLToPath(new URL('../node_modules/.cache/hermod', import.meta.url)))
  return import(source.href)
}
