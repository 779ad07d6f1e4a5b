import { lookAt } from '../check.ts'
import { ConfigError } from '../config/diagnostics.ts'
import { type ConfigSource, readConfig } from './config.ts'

/** `hermod check`: whether a server would start, and what its clients would refuse. Rejects with all that is wrong. */
export async function check(
  source: ConfigSource,
): Promise<{ hosts: readonly string[]; warnings: string[]; certificates: string[] }> {
  const { config, formatted, located } = await readConfig(source)
  const { wrong, warnings, certificates } = await lookAt(config)
  if (wrong.length > 0) throw new ConfigError(wrong.flatMap(error => located(error).diagnostics))
  return { hosts: config.hosts, warnings: [...formatted, ...warnings], certificates }
}
