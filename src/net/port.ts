import type { Server } from 'node:net'

/** Opens a port for a server; rejects with what is wrong with it. `failed` hears of what goes wrong later. */
export function openPort(
  server: Server,
  { port, ip, backlog }: { port: number; ip: string; backlog: number },
  failed: (error: Error) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host: ip, backlog }, () => {
      server.off('error', reject)
      server.on('error', failed)
      resolve()
    })
  })
}

/** The port that a server listens on; `wanted` while it listens on none. */
export function portOf(server: Server, wanted: number): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : wanted
}
