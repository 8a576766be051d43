/**
 * The parent's side of the wire monitor: starts it on the lab's extra port, keeps the totals it reports, and asks it for
 * the stall that a failure caused.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { StackError } from '../../stack/base/errors.js'
import type { Lab } from './lab.js'
import { labEnvironment } from './space.js'
import type { Speaker, WireTotals } from './wire-progress.js'

/** What a client felt of a failure, in milliseconds. */
export interface Stall {
  /** For how long it got nothing new although it could have: see wire-progress.ts. */
  readonly ms: number
  /** The longest such silence in the second before the failure: how steady the owner was by itself. */
  readonly usualMs: number
}

export type MonitorRequest =
  | { readonly ask: 'stall'; readonly number: number; readonly failedAt: number }
  | { readonly ask: 'totals' | 'speakers'; readonly number: number }

export type MonitorReply =
  | { readonly totals: WireTotals }
  | { readonly answer: number; readonly stallMs: number | null; readonly usualMs: number }
  | { readonly answer: number; readonly totals: WireTotals; readonly drops: number }
  | { readonly answer: number; readonly speakers: readonly Speaker[] }

const PROGRAM = fileURLToPath(new URL('./monitor-main.js', import.meta.url))
const ASK_EVERY_MS = 20
const NO_TOTALS: WireTotals = { frames: 0, down: 0, up: 0, syns: 0, resets: 0, repeats: 0 }

export class WireMonitor {
  readonly #child: ChildProcess
  readonly #answers = new Map<number, (reply: MonitorReply) => void>()
  #totals: WireTotals = NO_TOTALS
  #asked = 0

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (reply: MonitorReply) => this.#take(reply))
  }

  /**
   * Starts listening on the lab's monitor port. `pcap`: a file to write the frames' first octets to. With `offload` it takes
   * super-frames as the nodes do; without, the kernel cuts each frame for it, which costs the sender a good deal.
   */
  static async start(lab: Lab, pcap?: string, offload = true): Promise<WireMonitor> {
    const { monitorTap, address, switchNamespace } = lab.record
    const script = [
      PROGRAM,
      monitorTap,
      address.split('/')[0] ?? '',
      offload ? 'offload' : 'plain',
      ...(pcap === undefined ? [] : [pcap]),
    ]
    const [command = '', ...args] = lab.space.wrapIn(switchNamespace, [process.execPath, ...script])
    const child = spawn(command, args, {
      env: labEnvironment(lab.id),
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      detached: true,
    })
    let said = ''
    child.stderr?.on('data', (chunk) => {
      said = `${said}${chunk}`.slice(-2_000)
    })
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => resolve())
      child.once('error', reject)
      child.once('exit', () => {
        reject(new StackError('ERR_LAB_MONITOR', `the wire monitor ended: ${said.trim()}`))
      })
    })
    return new WireMonitor(child)
  }

  /** What has gone over the wire, as of at most some 25 ms ago. */
  get totals(): WireTotals {
    return this.#totals
  }

  /**
   * The stall that the failure of the owner at `failedAt` (milliseconds of the monotonic clock) caused. Resolves as soon
   * as the client gets something new again; undefined when it does not within `timeoutMs`.
   */
  async stall(failedAt: number, timeoutMs: number): Promise<Stall | undefined> {
    const giveUpAt = Date.now() + timeoutMs
    for (;;) {
      const reply = await this.#ask({ ask: 'stall', number: ++this.#asked, failedAt })
      if ('stallMs' in reply && reply.stallMs !== null) {
        return { ms: reply.stallMs, usualMs: reply.usualMs }
      }
      if (Date.now() > giveUpAt) return undefined
      await delay(ASK_EVERY_MS)
    }
  }

  /** What has gone over the wire up to now, and how many frames the monitor itself has missed. */
  async count(): Promise<{ totals: WireTotals; drops: number }> {
    const reply = await this.#ask({ ask: 'totals', number: ++this.#asked })
    return 'drops' in reply ? reply : { totals: this.#totals, drops: 0 }
  }

  /** Who has spoken for the virtual address up to now, by MAC address. */
  async speakers(): Promise<readonly Speaker[]> {
    const reply = await this.#ask({ ask: 'speakers', number: ++this.#asked })
    return 'speakers' in reply ? reply.speakers : []
  }

  close(): void {
    if (this.#child.connected) this.#child.disconnect()
  }

  #ask(request: MonitorRequest): Promise<MonitorReply> {
    if (!this.#child.connected) {
      return Promise.reject(new StackError('ERR_LAB_MONITOR', 'the wire monitor is gone.'))
    }
    return new Promise((resolve, reject) => {
      const lost = () => reject(new StackError('ERR_LAB_MONITOR', 'the wire monitor is gone.'))
      this.#child.once('disconnect', lost)
      this.#answers.set(request.number, (reply) => {
        this.#child.off('disconnect', lost)
        resolve(reply)
      })
      this.#child.send(request)
    })
  }

  #take(reply: MonitorReply): void {
    if ('totals' in reply) this.#totals = reply.totals
    if (!('answer' in reply)) return
    this.#answers.get(reply.answer)?.(reply)
    this.#answers.delete(reply.answer)
  }
}
