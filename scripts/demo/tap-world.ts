/**
 * The demo's world on real devices: a lab with a real kernel and a real curl in the client's namespace, and the wire
 * monitor on a port of the hub.
 */
import type { ChildProcess } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { OperatorServer } from '../../cluster/io/index.js'
import { StackError } from '../../stack/base/errors.js'
import { type HeardEvent, Lab, monotonicMs } from '../lab/lab.js'
import { openLabPage } from '../lab/lab-page.js'
import { type Stall, WireMonitor } from '../lab/wire-monitor.js'
import type { Cause, Failure, NodePhase, Transfer, World, WorldOptions } from './world.js'

const SUCCESSOR_MS = 15_000
const PROGRESS_MS = 15_000

export interface TapWorldOptions extends WorldOptions {
  /** Takes the place of the node program; see LabOptions. */
  readonly program?: readonly string[]
  readonly pcap?: string
  /** See LabOptions. */
  readonly offload?: boolean
  /** A folder that gets what the nodes said, when the world closes. */
  readonly logs?: string
}

/** Builds the lab and starts its nodes. Throws ERR_LAB_NO_TUN, _NO_PRIVILEGE, _NO_COMMAND where there can be none. */
export async function openTapWorld(options: TapWorldOptions, signal: AbortSignal): Promise<World> {
  const { verbose, logs } = options
  const onEvent = verbose ? (event: HeardEvent) => console.error(JSON.stringify(event)) : undefined
  const lab = await Lab.create({ ...options, ...(onEvent === undefined ? {} : { onEvent }) })
  try {
    signal.throwIfAborted()
    lab.startCounting()
    const monitor = await WireMonitor.start(lab, options.pcap, options.offload)
    signal.throwIfAborted()
    await lab.startAll()
    signal.throwIfAborted()
    return new TapWorld(lab, monitor, await openLabPage(lab), logs)
  } catch (error) {
    keepLogs(lab, logs)
    await lab.close()
    throw error
  }
}

class TapWorld implements World {
  readonly link = 'tap'
  readonly #lab: Lab
  readonly #monitor: WireMonitor
  readonly #page: OperatorServer
  readonly #logs: string | undefined

  constructor(lab: Lab, monitor: WireMonitor, page: OperatorServer, logs: string | undefined) {
    this.#lab = lab
    this.#monitor = monitor
    this.#page = page
    this.#logs = logs
  }

  get page(): string | null {
    return this.#page.url
  }

  get owner(): number | undefined {
    return this.#lab.owner
  }

  phases(): { id: number; phase: NodePhase }[] {
    return this.#lab.status().map(({ id, state, owner }) => {
      if (owner) return { id, phase: 'owner' }
      if (state === 'ready') return { id, phase: 'standby' }
      if (state === 'ended' || state === 'absent') return { id, phase: 'dead' }
      return { id, phase: state }
    })
  }

  download(name: string, to: string, rate: number): Transfer {
    return this.#curl('down', ['--output', to, `${this.#lab.url}/${name}`], rate)
  }

  upload(from: string, name: string, rate: number): Transfer {
    return this.#curl(
      'up',
      ['--upload-file', from, '--output', '-', `${this.#lab.url}/${name}`],
      rate,
    )
  }

  awaitOwner(): Promise<number> {
    return this.#lab.awaitOwner()
  }

  async fail(cause: Cause): Promise<Failure> {
    const node = await this.#lab.awaitOwner()
    const at = monotonicMs()
    if (cause === 'kill') await this.#lab.kill(node)
    else this.#lab.stop(node)
    return { node, cause, at }
  }

  async awaitSuccessor(failure: Failure): Promise<number> {
    await this.#lab.until(
      () => this.owner !== undefined && this.owner !== failure.node,
      SUCCESSOR_MS,
      `no node has taken over from node ${failure.node}`,
    )
    return this.owner ?? 0
  }

  stall(failure: Failure): Promise<Stall | undefined> {
    return this.#monitor.stall(failure.at, PROGRESS_MS)
  }

  async restore(): Promise<void> {
    const failed = this.#lab
      .status()
      .filter(({ state }) => state === 'ended' || state === 'stopped')
    await Promise.all(
      failed.map(async ({ id, state }) => {
        if (state === 'stopped') await this.#lab.kill(id)
        await this.#lab.start(id)
      }),
    )
    await this.#lab.awaitOwner()
  }

  async wire(): Promise<{ syns: number; resets: number }> {
    const counted = this.#lab.wireCounts()
    if (counted !== undefined) {
      return { syns: counted.syns, resets: counted.resetsIn + counted.resetsOut }
    }
    const { totals } = await this.#monitor.count()
    return { syns: totals.syns, resets: totals.resets }
  }

  async close(): Promise<void> {
    this.#monitor.close()
    await this.#page.close()
    keepLogs(this.#lab, this.#logs)
    await this.#lab.close()
  }

  #curl(direction: 'down' | 'up', args: readonly string[], rate: number): Transfer {
    const before = this.#monitor.totals[direction]
    const child = this.#lab.spawnInClient([
      'curl',
      '--disable',
      '--silent',
      '--show-error',
      '--fail',
      '--noproxy',
      '*',
      '--limit-rate',
      String(rate),
      ...args,
    ])
    return { bytes: () => this.#monitor.totals[direction] - before, done: ended(child) }
  }
}

function keepLogs(lab: Lab, folder: string | undefined): void {
  if (folder === undefined) return
  mkdirSync(folder, { recursive: true })
  for (const { id, log } of lab.status()) {
    if (existsSync(log)) copyFileSync(log, join(folder, `node${id}.log`))
  }
}

function ended(child: ChildProcess): Promise<void> {
  let said = ''
  child.stdout?.resume()
  child.stderr?.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-2_000)
  })
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new StackError('ERR_DEMO_CLIENT', error.message)))
    child.once('close', (code, signal) => {
      if (code === 0) resolve()
      else
        reject(
          new StackError('ERR_DEMO_CLIENT', `curl ended with ${signal ?? code}: ${said.trim()}`),
        )
    })
  })
}
