/** Resolves when `done` is, or after `timeout` ms; rejects where `done` does before that. */
export async function within(timeout: number, done: Promise<unknown> | undefined): Promise<void> {
  const late = Promise.withResolvers<void>()
  const timer = setTimeout(late.resolve, timeout)
  try {
    await Promise.race([done, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
