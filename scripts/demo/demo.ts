/**
 * The demo's plot, the same in every world: a download during which two owners in turn fail, then an upload during which
 * two more do. It judges only by what a client can see: the octets that arrived, and what went over its wire.
 */
import { createHash, randomFillSync } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { StackError } from '../../stack/base/errors.js'
import { mib, type Screen } from './screen.js'
import type { Cause, Transfer, World } from './world.js'

export interface DemoOptions {
  /** Octets of the file. */
  readonly size: number
  /** Octets a second that the client allows itself. */
  readonly rate: number
  readonly cause: Cause
  /** The folder that the nodes serve. */
  readonly root: string
  /** A folder for the client's own files. */
  readonly clientFolder: string
}

export interface Takeover {
  readonly from: number
  readonly to: number
  readonly cause: Cause
  /** Null: the client never got anything again. */
  readonly stallMs: number | null
}

export interface TransferReport {
  readonly bytes: number
  readonly sha256ok: boolean
  readonly takeovers: readonly Takeover[]
}

/** The last line of `npm run demo -- --json`. */
export interface DemoReport {
  readonly ok: boolean
  readonly link: 'tap' | 'memory'
  readonly download: TransferReport
  readonly upload: TransferReport
  readonly clientSyns: number
  readonly clientResets: number
}

/** At which parts of the file the owner fails. */
const FAILURES = [1 / 3, 2 / 3]
const WATCH_EVERY_MS = 10
/** A transfer that gets no further for so long is given up. */
const PATIENCE_MS = 30_000
const DOWNLOAD_NAME = 'download.bin'
const UPLOAD_NAME = 'upload.bin'

/** Plays the demo in `world`. Throws StackError when the world gives up; a spoilt file is no error but `ok: false`. */
export async function runDemo(
  options: DemoOptions,
  world: World,
  screen: Screen,
): Promise<DemoReport> {
  const { root, clientFolder, size, rate } = options
  screen.say(`making a file of ${mib(size)} of random octets`)
  const source = join(root, DOWNLOAD_NAME)
  const wanted = await makeRandomFile(source, size)

  const copy = join(clientFolder, 'copy.bin')
  screen.say(`download: GET /${DOWNLOAD_NAME}, at most ${mib(rate)}/s`)
  const first = world.download(DOWNLOAD_NAME, copy, rate)
  const download = await watch('download', options, world, screen, first, copy, wanted)
  fs.rmSync(copy, { force: true })

  screen.say('starting the failed nodes again')
  await world.restore()
  screen.say(`node ${world.owner} owns the address`)

  screen.say(`upload: PUT /${UPLOAD_NAME}, at most ${mib(rate)}/s`)
  const second = world.upload(source, UPLOAD_NAME, rate)
  const arrived = join(root, UPLOAD_NAME)
  const upload = await watch('upload', options, world, screen, second, arrived, wanted)

  const wire = await world.wire()
  const ok = isGood(download) && isGood(upload) && wire.syns === 2 && wire.resets === 0
  return {
    ok,
    link: world.link,
    download,
    upload,
    clientSyns: wire.syns,
    clientResets: wire.resets,
  }
}

function isGood(report: TransferReport): boolean {
  const survived = report.takeovers.filter((each) => each.stallMs !== null)
  return report.sha256ok && survived.length === FAILURES.length
}

/** Watches one transfer and lets the owner fail at its appointed parts. */
async function watch(
  title: string,
  options: DemoOptions,
  world: World,
  screen: Screen,
  transfer: Transfer,
  result: string,
  wanted: string,
): Promise<TransferReport> {
  const { size } = options
  const bytes = () => Math.min(size, transfer.bytes())
  // Failures are looked at where the transfer is awaited; until then they must not count as unhandled.
  transfer.done.catch(() => {})
  screen.show(() => ({ title, bytes: bytes(), size, nodes: world.phases() }))
  const takeovers: Takeover[] = []
  try {
    for (const part of FAILURES) {
      await reach(transfer, bytes, part * size, title)
      takeovers.push(await letOwnerFail(options.cause, world, screen))
    }
    await reach(transfer, bytes, size, title)
    await transfer.done
  } finally {
    screen.hide()
  }
  const got = fs.existsSync(result) ? await hashFile(result) : ''
  const arrived = fs.statSync(result, { throwIfNoEntry: false })?.size ?? 0
  const same = got === wanted
  screen.say(`${title}: ${arrived} octets arrived, SHA-256 ${same ? 'equal' : 'NOT EQUAL'}`)
  return { bytes: arrived, sha256ok: same, takeovers }
}

async function letOwnerFail(cause: Cause, world: World, screen: Screen): Promise<Takeover> {
  const failure = await world.fail(cause)
  const to = await world.awaitSuccessor(failure)
  const stall = await world.stall(failure)
  const stallMs = stall === undefined ? null : rounded(stall.ms)
  const what = cause === 'kill' ? 'killed (SIGKILL)' : 'stopped (SIGSTOP)'
  const effect =
    stall === undefined
      ? 'the client got nothing any more'
      : `the client was kept waiting for ${stallMs} ms (in the second before: ${rounded(stall.usualMs)} ms at most)`
  screen.say(`node ${failure.node} ${what}: node ${to} took over, ${effect}`)
  return { from: failure.node, to, cause, stallMs }
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10
}

/** Resolves when `target` octets are across, or the client is done; throws when the client fails or nothing moves. */
async function reach(
  transfer: Transfer,
  bytes: () => number,
  target: number,
  title: string,
): Promise<void> {
  let over = false
  const done = transfer.done.then(() => {
    over = true
  })
  let last = bytes()
  let movedAt = performance.now()
  while (!over && bytes() < target) {
    await Promise.race([done, delay(WATCH_EVERY_MS)])
    if (bytes() !== last) {
      last = bytes()
      movedAt = performance.now()
    } else if (performance.now() - movedAt > PATIENCE_MS) {
      throw new StackError(
        'ERR_DEMO_STUCK',
        `the ${title} has been at ${last} octets for ${PATIENCE_MS / 1000} s.`,
      )
    }
  }
}

/** Fills the file `path` with `size` random octets; resolves with their SHA-256 in hexadecimal. */
async function makeRandomFile(path: string, size: number): Promise<string> {
  const chunk = Buffer.alloc(4 * 1_048_576)
  const hash = createHash('sha256')
  const file = fs.openSync(path, 'w', 0o644)
  try {
    for (let written = 0; written < size; ) {
      randomFillSync(chunk)
      const part = chunk.subarray(0, Math.min(chunk.length, size - written))
      hash.update(part)
      written += fs.writeSync(file, part)
      await delay(0)
    }
  } finally {
    fs.closeSync(file)
  }
  return hash.digest('hex')
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of fs.createReadStream(path, { highWaterMark: 1_048_576 }))
    hash.update(chunk)
  return hash.digest('hex')
}

/** The report as a table for people. */
export function tabulate(report: DemoReport): string {
  const lines = [
    '',
    '            octets      SHA-256    take-overs (how long the client was kept waiting)',
  ]
  for (const title of ['download', 'upload'] as const) {
    const { bytes, sha256ok, takeovers } = report[title]
    const stalls = takeovers.map(({ from, to, stallMs }) => {
      return `${from} -> ${to} (${stallMs === null ? 'for ever' : `${stallMs} ms`})`
    })
    const sum = sha256ok ? 'equal' : 'NOT EQUAL'
    lines.push(
      `  ${title.padEnd(8)} ${String(bytes).padStart(11)}   ${sum.padEnd(9)}  ${stalls.join(', ')}`,
    )
  }
  lines.push(
    `  client's wire: ${report.clientSyns} SYNs (one for each transfer), ${report.clientResets} RSTs`,
    report.ok
      ? '  Both connections outlived two servers each.'
      : '  NOT AS IT SHOULD BE: see above; --verbose shows what the nodes say.',
  )
  return lines.join('\n')
}
