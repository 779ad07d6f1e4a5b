/**
 * Smack's integration tests (from Maven Central) against a hermod of this tree: `npm run test:interop`. Two runs: plain, with
 * accounts made by an administrator (XEP-0133); over STARTTLS, with accounts that register in-band (XEP-0077). Needs Java 17
 * or newer and Maven; with `--if-possible` it says so where they are missing, and ends well.
 */
import { execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { CONNECTIONS_NOT_OVER_TLS, EXPECTED, NOT_OVER_TLS } from '../test/interop/expectations.ts'
import { judge, type Outcome, readOutcomes, toRunAgain } from '../test/interop/judge.ts'
import { type ServerProcess, tail } from '../test/support/launched.ts'
import { hermodProcess } from '../test/support/serverprocess.ts'

const run = promisify(execFile)
const ROOT = path.resolve(import.meta.dirname, '..')
const RUNNER = path.join(ROOT, 'test/interop/Runner.java')
const POM = path.join(ROOT, 'test/interop/pom.xml')
const CACHE = path.join(ROOT, 'node_modules/.cache')
const DOMAIN = 'interop.test'
const JAVA = 17
/** Ms that all may take, once Smack is there. It takes one to two minutes on two cores. */
const LIMIT = 6 * 60_000
/** Ms that Smack waits for an answer. */
const REPLY_TIMEOUT = 10_000

class NotPossible extends Error {}

interface Setting {
  readonly name: string
  readonly notRun: Readonly<Record<string, string>>
  /** Options of the Java machine: how to log in, whom to trust, what to leave out. */
  options(server: ServerProcess, folder: string): Promise<string[]>
}

const SETTINGS: readonly Setting[] = [
  {
    name: 'plain, accounts made by an administrator',
    notRun: EXPECTED.notRun,
    async options(_server, folder) {
      const password = randomBytes(12).toString('hex')
      const words = ['--socket', path.join(folder, 'data/hermodctl.sock'), 'register', `operator@${DOMAIN}`, password]
      await run(process.execPath, [path.join(ROOT, 'src/cli/hermodctl.ts'), ...words])
      return properties({
        securityMode: 'disabled',
        adminAccountUsername: 'operator',
        adminAccountPassword: password,
      })
    },
  },
  {
    name: 'STARTTLS, accounts registered in-band',
    notRun: { ...EXPECTED.notRun, ...NOT_OVER_TLS },
    async options(_server, folder) {
      const store = path.join(folder, 'trust.p12')
      const file = path.join(folder, 'data/selfsigned.crt')
      const words = ['-importcert', '-noprompt', '-alias', 'hermod', '-file', file, '-keystore', store]
      await run('keytool', [...words, '-storepass', 'changeit', '-storetype', 'PKCS12'])
      return [
        `-Djavax.net.ssl.trustStore=${store}`,
        '-Djavax.net.ssl.trustStorePassword=changeit',
        ...properties({ securityMode: 'required', disabledConnections: CONNECTIONS_NOT_OVER_TLS.join(',') }),
      ]
    },
  },
]

function properties(of: Readonly<Record<string, string>>): string[] {
  return Object.entries(of).map(([name, value]) => `-Dsinttest.${name}=${value}`)
}

/** The class path of the suite: asked of Maven once for each state of `pom.xml`. Throws NotPossible where it cannot be had. */
async function bringSmack(): Promise<string> {
  await mustHaveJava()
  const hash = createHash('sha256')
    .update(await readFile(POM))
    .digest('hex')
  const file = path.join(CACHE, `interop-${hash.slice(0, 12)}.classpath`)
  const known = await readFile(file, 'utf8').catch(() => '')
  if (known !== '' && (await allThere(known.split(path.delimiter)))) return known
  await mkdir(CACHE, { recursive: true })
  const fresh = `${file}-${process.pid}`
  try {
    await run('mvn', ['-q', '-B', '-f', POM, 'dependency:build-classpath', `-Dmdep.outputFile=${fresh}`], {
      timeout: 10 * 60_000,
      maxBuffer: 16 << 20,
    })
  } catch (error) {
    if (isMissing(error)) throw new NotPossible('it needs Maven (mvn), which is not here')
    throw new NotPossible(`Maven could not bring Smack: ${said(error)}`)
  }
  await rename(fresh, file)
  return await readFile(file, 'utf8')
}

async function mustHaveJava(): Promise<void> {
  const { stderr } = await run('java', ['-version']).catch((error: unknown) => {
    throw new NotPossible(`it needs Java ${JAVA} or newer: ${isMissing(error) ? 'java is not here' : said(error)}`)
  })
  const version = /version "(\d+)/.exec(stderr)?.[1]
  if (Number(version ?? 0) < JAVA) throw new NotPossible(`it needs Java ${JAVA} or newer, and this is ${version}`)
  // The runner is compiled when it is started: that takes the whole kit.
  await run('javac', ['-version']).catch(() => {
    throw new NotPossible('it needs a Java development kit, and javac is not here')
  })
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

function said(error: unknown): string {
  const told = error instanceof Error && 'stdout' in error ? String(error.stdout) : ''
  return (told.trim() || String(error)).split('\n').slice(0, 3).join(' ').slice(0, 500)
}

async function allThere(files: readonly string[]): Promise<boolean> {
  const found = await Promise.all(files.map(file => stat(file.trim()).then(Boolean, () => false)))
  return found.every(Boolean)
}

interface Go {
  readonly classPath: string
  /** Of the Java machine. */
  readonly options: readonly string[]
  readonly port: number
  /** Ms since 1970. */
  readonly deadline: number
}

/** One go of the runner; rejects where it ends without a result. */
async function runSmack({ classPath, options, port, deadline }: Go, log: string, tests: readonly string[] = []) {
  const result = `${log}.result`
  await writeFile(result, '')
  const out = openSync(log, 'a')
  const child = spawn('java', ['-cp', classPath.trim(), ...options, RUNNER, String(port), result, ...tests], {
    stdio: ['ignore', out, out],
  })
  closeSync(out)
  const orphan = (): boolean => child.kill('SIGKILL')
  process.once('exit', orphan)
  const timer = setTimeout(orphan, deadline - Date.now())
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', resolve)
  })
  clearTimeout(timer)
  process.off('exit', orphan)
  const text = await readFile(result, 'utf8')
  if (code !== 0) {
    const why =
      code === null ? `did not end within the ${LIMIT / 60_000} minutes that all may take` : `ended with ${code}`
    throw new Error(`Smack's tests ${why} after ${text.split('\n').length - 1} results:\n${tail(log, 40)}`)
  }
  return readOutcomes(text)
}

async function runSetting(setting: Setting, classPath: string, folder: string, deadline: number) {
  const server = await hermodProcess({
    folder,
    domain: DOMAIN,
    // The connection that registers accounts does not log in, and lasts as long as the run.
    sets: ['listen.0.pre_auth_timeout=1h', `acl.admin.user.0=operator@${DOMAIN}`],
  })
  await server.start()
  try {
    const options = [
      ...(await setting.options(server, folder)),
      ...properties({
        service: DOMAIN,
        host: '127.0.0.1',
        debugger: 'none',
        replyTimeout: String(REPLY_TIMEOUT),
        defaultConnection: 'tcp',
        disabledTests: Object.keys(setting.notRun).join(','),
      }),
    ]
    const go = { classPath, options, port: server.port, deadline }
    const outcomes = await runSmack(go, path.join(folder, 'smack.log'))
    const failed = toRunAgain(outcomes, EXPECTED)
    const again = failed.length === 0 ? [] : await runSmack(go, path.join(folder, 'again.log'), failed)
    if (server.died !== undefined) throw new Error(`${server.died}:\n${tail(server.log)}`)
    return { outcomes, again }
  } finally {
    await server.stop()
  }
}

function tell(
  setting: Setting,
  outcomes: readonly Outcome[],
  again: readonly Outcome[],
): { passed: number; failed: number } {
  const { passed, wrong, excused } = judge(outcomes, again, EXPECTED)
  console.log(`\n== ${setting.name}: ${passed} passed`)
  for (const { test, reason } of outcomes.filter(one => one.outcome === 'failed')) {
    if (again.some(one => one.test === test && one.outcome === 'passed')) {
      console.log(`   alone only  ${test}: ${reason}`)
    }
  }
  for (const line of excused) console.log(`   as listed   ${line}`)
  for (const [test, why] of Object.entries(setting.notRun)) console.log(`   not run     ${test}: ${why}`)
  for (const line of wrong) console.log(`   WRONG       ${line}`)
  return { passed, failed: wrong.length }
}

const began = Date.now()
const folder = await mkdtemp(path.join(tmpdir(), 'hermod-interop-'))
try {
  const classPath = await bringSmack()
  const deadline = Date.now() + LIMIT
  const sum = { passed: 0, failed: 0 }
  for (const [index, setting] of SETTINGS.entries()) {
    const { outcomes, again } = await runSetting(setting, classPath, path.join(folder, String(index)), deadline)
    const { passed, failed } = tell(setting, outcomes, again)
    sum.passed += passed
    sum.failed += failed
  }
  console.log(`\nSmack’s integration tests: ${Math.round((Date.now() - began) / 1000)} s`)
  console.log(`${sum.passed} passed, ${sum.failed} failed`)
  process.exitCode = sum.failed === 0 ? 0 : 1
} catch (error) {
  if (!(error instanceof NotPossible)) throw error
  console.log(`the interop suite was not run: ${error.message}`)
  process.exitCode = process.argv.includes('--if-possible') ? 0 : 2
} finally {
  await rm(folder, { recursive: true, force: true })
}
