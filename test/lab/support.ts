/** What the tests on real devices share: whether there can be any, what is left of a lab, and clients that check what they get. */
import { type ChildProcess, spawnSync } from 'node:child_process'
import { createHash, randomFillSync } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { fetchView } from '../../cluster/io/operator-client.js'
import type { Lab } from '../../scripts/lab/lab.js'
import { freshLabId, runtimeFolder } from '../../scripts/lab/lab-file.js'
import { processesOfLab } from '../../scripts/lab/process-table.js'
import { NO_LINK_CODES, Space } from '../../scripts/lab/space.js'
import { WireMonitor } from '../../scripts/lab/wire-monitor.js'
import { lowMac } from '../../scripts/lab/wire-progress.js'

/** Why no lab can be built here, or false. */
export async function whyNoLab(): Promise<string | false> {
  try {
    const space = await Space.open(freshLabId())
    space.close()
    return false
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === undefined || !NO_LINK_CODES.has(code)) throw error
    return message
  }
}

/** Whether nothing is left of the lab `id`, after five seconds at most. */
export async function gone(id: string): Promise<boolean> {
  const folder = join(runtimeFolder(), id)
  for (let i = 0; i < 100; i++) {
    const names = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout ?? ''
    if (processesOfLab(id).length === 0 && !fs.existsSync(folder) && !names.includes(`us${id}-`)) {
      return true
    }
    await delay(50)
  }
  return false
}

/**
 * Starts all nodes of `lab`, plays `scene` under a monitor of the wire, and checks that nothing is left of it. When something goes wrong, the
 * test says what the nodes said.
 */
export async function playIn(
  t: Test,
  lab: Lab,
  scene: (lab: Lab, monitor: WireMonitor) => Promise<void>,
): Promise<void> {
  let ended = false
  try {
    const monitor = await WireMonitor.start(lab)
    await lab.startAll()
    await scene(lab, monitor)
    monitor.close()
    ended = true
  } finally {
    if (!ended || !t.passing()) {
      for (const event of lab.events) t.comment(JSON.stringify(event))
    }
    await lab.close()
  }
  t.ok(await gone(lab.id), 'nothing is left')
}

/** Writes `size` random octets to `path` and returns their hash. */
export function randomFile(path: string, size: number): string {
  const bytes = randomFillSync(Buffer.alloc(size))
  fs.writeFileSync(path, bytes)
  return createHash('sha256').update(bytes).digest('hex')
}

export function hashOf(path: string): string {
  return createHash('sha256').update(fs.readFileSync(path)).digest('hex')
}

/** How a command in the client's namespace ended. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export function ended(child: ChildProcess): Promise<Ended> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr?.on('data', (chunk) => {
    stderr += chunk
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

/** A curl in the client's namespace, with the options of every one of them. */
export function curl(lab: Lab, ...args: string[]): Promise<Ended> {
  const common = ['--disable', '--silent', '--show-error', '--fail', '--noproxy', '*']
  return ended(lab.spawnInClient(['curl', ...common, ...args]))
}

/** Machines that build and test for many are slow at times; no test is about how fast one is. */
const REACH_MS = 60_000

/** Resolves when `count` octets more than `from` have gone over the wire. Throws after REACH_MS without. */
export async function reach(
  monitor: WireMonitor,
  direction: 'down' | 'up',
  count: number,
  from = 0,
): Promise<void> {
  const giveUpAt = Date.now() + REACH_MS
  while (monitor.totals[direction] - from < count) {
    if (Date.now() > giveUpAt) {
      throw new Error(
        `${monitor.totals[direction] - from} of ${count} octets after ${REACH_MS / 1000} s`,
      )
    }
    await delay(5)
  }
}

/** A client that gets nothing for so long waits for what does not come. */
const STALL_MS = 90_000

/**
 * Resolves as `done`, unless `progress` gives the same number for STALL_MS: then it throws, and says where the lab stands. What a hang was
 * about is not to be had afterwards.
 */
export async function orStall<T>(
  lab: Lab,
  done: Promise<T>,
  progress: () => number,
  stallMs = STALL_MS,
): Promise<T> {
  let seen = progress()
  let at = Date.now()
  let timer: NodeJS.Timeout | undefined
  const stalled = new Promise<never>((_resolve, reject) => {
    timer = setInterval(() => {
      const now = progress()
      if (now !== seen) at = Date.now()
      seen = now
      if (Date.now() - at < stallMs) return
      clearInterval(timer)
      const why = `nothing went on for ${stallMs / 1000} s, behind ${seen}`
      whereItStands(lab).then((text) => reject(new Error(`${why}\n${text}`)), reject)
    }, 500)
  })
  try {
    return await Promise.race([done, stalled])
  } finally {
    clearInterval(timer)
  }
}

// Each node by its own words and by the lab's, the last events, the client's kernel, and who holds the data.
async function whereItStands(lab: Lab): Promise<string> {
  const parts = [JSON.stringify(lab.status(), null, 1)]
  for (const event of lab.events.slice(-60)) parts.push(JSON.stringify(event))
  for (const { id, pid } of lab.status()) {
    if (pid === null) continue
    const asked = await fetchView({ socket: lab.operatorSocket(id) }).catch(
      ({ message }) => message,
    )
    parts.push(`node ${id}: ${JSON.stringify(asked)}`)
  }
  const kernel = ended(lab.spawnInClient(['ss', '-tinoe']))
  parts.push((await kernel.catch(({ message }) => ({ stdout: message }))).stdout)
  const lock = join(lab.root, 'owner.lock')
  if (fs.existsSync(lock)) parts.push(`owner.lock: ${fs.readFileSync(lock, 'utf8')}`)
  return parts.join('\n')
}

/** Kills the owner, resolves when another node owns the address, and returns both ids. */
export async function killOwner(lab: Lab): Promise<{ from: number; to: number }> {
  const from = await lab.awaitOwner()
  await lab.kill(from)
  return { from, to: await lab.awaitOwner(10_000) }
}

/** Frames that node `id` has sent in the name of the virtual address. */
export async function spokenBy(lab: Lab, monitor: WireMonitor, id: number): Promise<number> {
  const mac = lowMac(lab.record.nodes.find((node) => node.id === id)?.mac ?? '')
  const speaker = (await monitor.speakers()).find((each) => each.mac === mac)
  return (speaker?.ip ?? 0) + (speaker?.arp ?? 0)
}

// Below the package, so that it finds `understudy`.
const PACKAGE = fileURLToPath(new URL('../..', import.meta.url))

/**
 * The command line of a node program that numbers the lines of each connection on `ports`. It commits each, or nothing: then it is replayed
 * from the start.
 */
export function numbersLines(
  t: Test,
  ports: readonly number[],
  commits = false,
): readonly string[] {
  const folder = fs.mkdtempSync(join(PACKAGE, 'lab-program-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'lines.mjs')
  fs.writeFileSync(
    file,
    `import { createNode } from 'understudy'
const node = await createNode()
for (const port of ${JSON.stringify(ports)}) node.net.createServer((socket) => {
  let lines = socket.resumed?.state ?? 0, rest = ''
  socket.on('data', (chunk) => {
    const parts = (rest + chunk.toString('latin1')).split('\\n')
    rest = parts.pop()
    for (const line of parts) socket.write(++lines + ': ' + line + '\\n', 'latin1')
    if (${commits}) socket.commit(lines, { input: socket.inputOffset - rest.length })
  })
  socket.on('end', () => socket.end())
  socket.on('error', () => {})
}).listen(port)
`,
  )
  return [process.execPath, file]
}

/** A client of `numbersLines`. */
export interface Dialogue {
  readonly client: ChildProcess
  /** Says `line`, and resolves when it has been answered as line `number`. */
  says(line: string, number: number): Promise<void>
}

/** Connects to `port` of the virtual address, or of `host`; what comes back is checked to the octet. */
export function dialogue(
  t: Test,
  lab: Lab,
  port: number,
  host = lab.record.address.split('/')[0],
): Dialogue {
  const client = lab.spawnInClient(['curl', '-sN', `telnet://${host}:${port}`], 0, 'pipe')
  t.teardown(() => client.kill())
  let heard = ''
  client.stdout?.on('data', (text) => {
    heard += text
  })
  let all = ''
  const says = async (line: string, number: number): Promise<void> => {
    client.stdin?.write(`${line}\n`)
    all += `${number}: ${line}\n`
    for (let i = 0; i < 1000 && heard.length < all.length && client.exitCode === null; i++) {
      await delay(10)
    }
    t.equal(heard, all)
  }
  return { client, says }
}

/** The Ethernet address that the client has of the virtual address, after it has asked for it anew. */
export async function askWhoHas(
  lab: Lab,
  talk: Dialogue,
  line: string,
  n: number,
): Promise<string> {
  const [host = ''] = lab.record.address.split('/')
  const inClient = (...args: string[]) => ended(lab.spawnInClient(['ip', ...args]))
  await inClient('neigh', 'flush', 'to', host)
  await talk.says(line, n)
  return /lladdr (\S+)/.exec((await inClient('neigh', 'show', 'to', host)).stdout)?.[1] ?? ''
}

/** The Ethernet address of node `id`'s stack. */
export function macOf(lab: Lab, id: number): string {
  return lab.record.nodes.find((node) => node.id === id)?.mac ?? ''
}
