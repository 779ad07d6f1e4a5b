/** What a person types to get at hermod and hermodctl, as they got here: by npm's scripts in a clone, or installed. */
interface Invocation {
  /** Takes options after it. */
  start: string
  ctl: string
}

/** For hints; `options` are those by which hermodctl finds the same server. */
export function invocation(env: NodeJS.ProcessEnv, options: readonly string[] = []): Invocation {
  const byNpm = env['npm_lifecycle_event'] !== undefined
  return {
    start: byNpm ? 'npm start --' : 'hermod start',
    ctl: [byNpm ? 'npm run ctl --' : 'hermodctl', ...options].join(' '),
  }
}
