/** HTTP as test clients speak it: one request a connection, the path as it is written. */
import { request as plain } from 'node:http'
import { request as secure } from 'node:https'
import { connect, type Socket } from 'node:net'

export interface Answer {
  status: number
  headers: Record<string, string | undefined>
  body: Buffer
}

export interface Asked {
  headers?: Record<string, string | number>
  body?: Buffer | string
}

export function http(method: string, url: string, { headers = {}, body }: Asked = {}): Promise<Answer> {
  const [, scheme, hostname, port, path] = /^(https?):\/\/([^/:]+):(\d+)(\/.*)?$/.exec(url)!
  return new Promise((resolve, reject) => {
    const ask = scheme === 'https' ? secure : plain
    const length = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) }
    const options = {
      host: '127.0.0.1',
      port: Number(port),
      path: path ?? '/',
      method,
      agent: false as const,
      headers: { Host: hostname, ...length, ...headers },
      rejectUnauthorized: false,
    }
    const request = ask(options, response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({
          status: response.statusCode!,
          headers: response.headers as Record<string, string | undefined>,
          body: Buffer.concat(chunks),
        }),
      )
    })
    request.on('error', reject)
    request.end(body)
  })
}

/** A connection on which bytes are written as they are; `all` resolves with what came when the server has closed it. */
export function bytes(port: number): { socket: Socket; all: Promise<string> } {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  const all = new Promise<string>(resolve => {
    socket.on('data', chunk => {
      text += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(text))
  })
  return { socket, all }
}
