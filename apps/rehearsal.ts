/**
 * Rehearsal of an application: what it does when it goes on with another node's connections, on two nodes in memory, before it must.
 *
 * A take-over is seldom: without this its application would be compiled, and threads for its files started, while clients wait for it.
 * It is the same code that serves later; only devices, stores and clients are others. See also `cluster/rehearsal.ts`.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type AppConfig,
  checkNodeConfig,
  MemoryCluster,
  type Net,
  type NodeRuntime,
  parseIpv4Address,
  type Socket,
} from '../cluster/io/index.js'
import { StackError } from '../stack/index.js'

const VIRTUAL = '192.0.2.1'
const CLIENT = '192.0.2.2'
const SERVER = '192.0.2.3'
const SERVER_PORT = 9
const FILE = 'rehearsal.bin'
/** Longer than what is under way at once, so that the take-over comes in its middle. */
const SIZE = 2_000_000
const PATIENCE_MS = 5000
/** How the owner goes: it dies, or hands over. */
const SCENES = ['crash', 'switchover'] as const

/** What a client says, and how many octets of answer it waits for before the owner dies, and behind that. */
interface Dialogue {
  readonly says: readonly Uint8Array[]
  readonly before: number
  readonly behind: number
}

const text = (...lines: string[]): Uint8Array => Buffer.from(`${lines.join('\r\n')}\r\n`, 'latin1')

/** A call of an NFS procedure that does nothing, of `version`. */
function nullCall(version: number): Uint8Array {
  const words = [0x8000_0028, 1, 0, 2, 100_003, version, 0, 0, 0, 0, 0]
  const call = Buffer.alloc(4 * words.length)
  for (const [i, word] of words.entries()) call.writeUInt32BE(word, 4 * i)
  return call
}

const get = (path: string): Uint8Array => text(`GET /${path} HTTP/1.1`, 'Host: r', '')
const HALF = Buffer.alloc(SIZE / 2)

/** By application; one that is not named here is not rehearsed. */
const DIALOGUES: Readonly<Record<string, readonly Dialogue[]>> = {
  http: [
    { says: [get(FILE), get(FILE)], before: SIZE / 2, behind: SIZE / 2 },
    {
      says: [text(`PUT /new.bin HTTP/1.1`, 'Host: r', `Content-Length: ${SIZE}`, ''), HALF, HALF],
      before: 0,
      behind: 1,
    },
    { says: [get('missing'), get('missing')], before: 1, behind: 1 },
  ],
  kv: [{ says: [text('SET a 1', 'INCR a'), text('GET a')], before: 1, behind: 1 }],
  nfs: [{ says: [nullCall(3), nullCall(4)], before: 1, behind: 1 }],
  echo: [{ says: [text('once'), text('again')], before: 1, behind: 1 }],
  chat: [{ says: [get(''), get('')], before: 1, behind: 1 }],
  ticker: [{ says: [text('')], before: 1, behind: 1 }],
  proxy: [{ says: [text('once'), text('again')], before: 1, behind: 1 }],
}

/** A client's end, and how much it has heard. */
class Listener {
  readonly socket: Socket
  #heard = 0
  #failed: Error | null = null

  constructor(net: Net, port: number) {
    this.socket = net.connect(port, VIRTUAL)
    this.socket.on('data', ({ length }: Buffer) => {
      this.#heard += length
    })
    this.socket.on('error', (error) => {
      this.#failed = error
    })
  }

  async hear(octets: number): Promise<void> {
    const wanted = this.#heard + octets
    await until(() => {
      if (this.#failed !== null) throw this.#failed
      return this.#heard >= wanted
    })
  }
}

async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + PATIENCE_MS
  while (!holds()) {
    if (Date.now() > end) throw new StackError('ERR_REHEARSAL', 'an application did not go on')
    await delay(2)
  }
}

async function play(
  scene: (typeof SCENES)[number],
  app: AppConfig,
  start: (app: AppConfig, node: NodeRuntime) => Promise<void>,
  dialogues: readonly Dialogue[],
): Promise<void> {
  const cluster = new MemoryCluster()
  try {
    const ids = [1, 2]
    for (const id of ids) {
      const names = { keyFile: '-', tap: '-', storeDir: '-', sharedDir: '-' }
      const wanted = { id, cluster: 'rehearsal', ...names, binding: { address: `${VIRTUAL}/24` } }
      await start(app, cluster.start(checkNodeConfig(wanted, 'rehearsal', '/')))
    }
    const server = cluster.client(parseIpv4Address(SERVER), 24)
    server.createServer((socket) => void socket.pipe(socket)).listen(SERVER_PORT)
    const client = cluster.client(parseIpv4Address(CLIENT), 24)
    await until(() => cluster.node(1)?.node.owns === true)
    const ends = dialogues.map(() => new Listener(client, app.port))
    const say = (part: number): void => {
      for (const [i, { says }] of dialogues.entries()) {
        const said = part === 0 ? says.slice(0, 1) : says.slice(1)
        for (const bytes of said) ends[i]?.socket.write(bytes)
      }
    }
    say(0)
    await Promise.all(ends.map((end, i) => end.hear(dialogues[i]?.before ?? 0)))
    if (scene === 'crash') await cluster.crash(1)
    else cluster.node(1)?.switchover()
    say(1)
    await Promise.all(ends.map((end, i) => end.hear(dialogues[i]?.behind ?? 0)))
    for (const { socket } of ends) socket.destroy()
  } finally {
    await cluster.close()
  }
}

/**
 * Plays a take-over of `app`, which takes about a second, most of it waiting. `folder` is the node's own, for files meanwhile; `start`
 * starts an application as in earnest. Resolves with how many connections it has gone on with: 0 when there is nothing to play.
 * Rejects with ERR_REHEARSAL and with what the application throws.
 */
export async function rehearseApp(
  app: AppConfig,
  folder: string,
  start: (app: AppConfig, node: NodeRuntime) => Promise<void>,
): Promise<number> {
  const dialogues = DIALOGUES[app.name]
  if (dialogues === undefined) return 0
  // Of one name, so that a node that dies meanwhile leaves nothing for ever.
  const root = join(folder, 'rehearsal')
  fs.rmSync(root, { recursive: true, force: true })
  fs.mkdirSync(root, { recursive: true })
  try {
    fs.writeFileSync(join(root, FILE), Buffer.alloc(SIZE))
    const here = { name: app.name, port: app.port, root, to: `${SERVER}:${SERVER_PORT}` }
    for (const scene of SCENES) await play(scene, here, start, dialogues)
    return SCENES.length * dialogues.length
  } finally {
    fs.rmSync(root, { recursive: true, force: true })
  }
}
