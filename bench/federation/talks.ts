/** Talks: of each one message is on its way at a time; the next goes when it has arrived, and none may be lost or out of order. */
import { randomUUID } from 'node:crypto'
import { cpuOf, pause, quiet } from './cost.ts'
import { attribute, message, onNumber, pongs, type Session } from './session.ts'

export interface Talk {
  readonly from: Session
  readonly to: string
  /** Where it arrives. */
  readonly at: Session
}

export interface TalkCost {
  /** Of all servers together, µs a message. */
  readonly cpu: number
  readonly perSecond: number
  /** From sent to arrived, ms. */
  readonly median: number
  readonly p99: number
  /** Of the program that measures, µs a message. */
  readonly own: number
  readonly lost: number
  readonly disorder: number
}

/** Before it is measured: so many seconds, and messages, by which what compiles while it runs has done so. */
const WARM_UP = 3
const WARM_MESSAGES = 20_000
const WARM_UP_ENDS = 20

const ENDS = ['</message>', '</iq>']

/** Talks for so many seconds, after some to warm up. */
export async function measureTalks(
  pids: readonly number[],
  talks: readonly Talk[],
  seconds: number,
): Promise<TalkCost> {
  let [running, measuring] = [true, false]
  let [sent, arrived, disorder] = [0, 0, 0]
  const times: number[] = []
  for (const { from, to, at } of talks) {
    const id = randomUUID().slice(0, 28)
    let [next, begun] = [0, 0]
    const send = (): void => {
      begun = performance.now()
      sent++
      from.socket.write(message(to, next, id))
    }
    onNumber(at.socket, number => {
      if (number !== next) disorder++
      arrived++
      next++
      if (measuring) times.push(performance.now() - begun)
      if (running) send()
    })
    send()
  }
  await pause(WARM_UP * 1000)
  for (let i = WARM_UP; i < WARM_UP_ENDS && arrived < WARM_MESSAGES; i++) await pause(1000)
  const [cpu, own, start] = [cpuOf(pids), process.cpuUsage(), performance.now()]
  measuring = true
  await pause(seconds * 1000)
  measuring = false
  const [used, mine, wall] = [cpuOf(pids) - cpu, process.cpuUsage(own), performance.now() - start]
  running = false
  for (let i = 0; i < 100 && arrived < sent; i++) await pause(100)
  await quiet(pids)
  if (times.length === 0) throw new Error('no message arrived')
  times.sort((a, b) => a - b)
  return {
    cpu: (used * 1000) / times.length,
    perSecond: (times.length * 1000) / wall,
    median: times[times.length >> 1]!,
    p99: times[Math.floor(times.length * 0.99)]!,
    own: (mine.user + mine.system) / times.length,
    lost: sent - arrived,
    disorder,
  }
}

/** A component that sends every text back to where it came from. */
export function echo({ socket, jid }: Session): void {
  let held = ''
  socket.on('data', (chunk: Buffer) => {
    held += chunk.toString()
    const end = Math.max(...ENDS.map(text => held.lastIndexOf(text) + text.length))
    const whole = held.slice(0, end)
    if (!ENDS.some(text => whole.endsWith(text))) return
    held = held.slice(end)
    let answers = pongs(whole)
    for (const [stanza] of whole.matchAll(/<message[ >].*?<\/message>/gs)) {
      const [from, id] = [attribute(stanza, 'from'), attribute(stanza, 'id')]
      const [body] = /<body>.*?<\/body>/s.exec(stanza)!
      answers += `<message type='chat' from='${jid}' to='${from}' id='${id}'>${body}</message>`
    }
    socket.write(answers)
  })
}
