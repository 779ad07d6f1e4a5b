/**
 * What a piece of work costs: CPU time of this process (ms), the least of three times. It means something only beside
 * another of the same run: machines differ, and are busy.
 */
export async function costOf(work: () => unknown): Promise<number> {
  const costs: number[] = []
  for (let i = 0; i < 3; i++) {
    const start = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(start)
    costs.push((user + system) / 1000)
  }
  return Math.min(...costs)
}
