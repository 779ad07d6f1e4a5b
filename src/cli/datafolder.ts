import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { readSource } from '../config/source.ts'

/** The two options that hermodctl needs to know, read without the schemas: it must start at once. */
export async function dataFolder(file: string): Promise<{ data: string; socket: string | undefined }> {
  const { value, problems } = readSource(await readFile(file, 'utf8'), file, process.env)
  const [problem] = problems
  if (problem !== undefined) throw new Error(`${file}: ${problem.message}; see: hermod check --config ${file}`)
  const raw: Record<string, unknown> = typeof value === 'object' && value !== null ? { ...value } : {}
  const text = (key: string): string | undefined => (typeof raw[key] === 'string' ? path.resolve(raw[key]) : undefined)
  return { data: text('data') ?? path.resolve('data'), socket: text('ctl_socket') }
}
