/**
 * Where the bench runs: a lab whose nodes never start, for its bridge, its TAPs and its two clients. One client sends the load;
 * the other is the server of the reference, the kernel's own TCP behind the same bridge. Our servers run on the TAPs.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { StackError } from '../../stack/base/errors.js'
import { Lab, type LabOptions } from '../lab/lab.js'
import { labEnvironment } from '../lab/space.js'

const SOURCES = fileURLToPath(new URL('../../../scripts/bench/', import.meta.url))
const SERVER = fileURLToPath(new URL('./server-main.js', import.meta.url))
const NODE = fileURLToPath(new URL('../node/main.js', import.meta.url))
const OURS = '10.77.0.100'
const KERNEL = '10.77.0.10'
/** Connections that one process of the load holds: fewer than it may have files, as systems have it. */
const HELD = 10_000
/** Further addresses of the first client, for its many connections. */
const FURTHER = Array.from({ length: 10 }, (_, index) => `10.77.1.${index + 1}`)
const PROGRAMS = ['load', 'tap-source']
/** The longest that one command of the load may take. */
const PATIENCE_MS = 120_000

/**
 * Who answers: our stack, or the kernel, each with offload or without. Without it the client's device has none either, so that
 * every frame on the bridge is as small as the MTU says.
 */
export type Contender = 'offload' | 'plain' | 'kernel' | 'kernel-plain'

/** What a server says about itself. */
export interface Usage {
  readonly octets: number
  readonly connections: number
}

/** What a server has taken of the processor, and what its device has dropped. */
export interface Work {
  readonly cpuMs: number
  readonly drops: number | null
}

/** A server that runs. */
export class Server {
  readonly address: string
  readonly #child: ChildProcess
  readonly #lines: Interface

  constructor(address: string, child: ChildProcess, lines: Interface) {
    this.address = address
    this.#child = child
    this.#lines = lines
  }

  /** Asks one of ours what it uses, behind a garbage collection. */
  async usage(): Promise<Usage> {
    return (await this.#ask('memory')) as Usage
  }

  /** Asks one of ours what it has done so far. */
  async work(): Promise<Work> {
    return (await this.#ask('cpu')) as Work
  }

  async #ask(what: string): Promise<unknown> {
    const answer = once(this.#lines, 'line')
    this.#child.stdin?.write(`${what}\n`)
    const [line] = await answer
    return JSON.parse(String(line))
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }
}

export class World {
  readonly #lab: Lab
  readonly #folder: string
  readonly #servers = new Set<Server>()
  readonly #labs = new Set<Lab>()
  /** The path of the load program. */
  readonly program: string
  // Of the clients' devices, which begin with all that they have.
  #offloads = true

  private constructor(lab: Lab, folder: string) {
    this.#lab = lab
    this.#folder = folder
    this.program = join(folder, 'load')
  }

  /** Builds everything. Throws ERR_BENCH_NO_COMPILER, or what a lab throws where there can be none. */
  static async open(): Promise<World> {
    const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-bench-'))
    let lab: Lab | undefined
    try {
      for (const name of PROGRAMS) compile(name, folder)
      lab = await Lab.create({ nodes: 2, clients: 2, app: 'echo', scratch: [folder] })
      const routes = FURTHER.map((address) => `ip addr add ${address}/32 dev eth0`)
      const [load, server] = lab.record.clients
      lab.space.runScriptIn(load?.namespace ?? '', routes.join('\n'))
      lab.space.runScriptIn(server?.namespace ?? '', 'ip route add 10.77.1.0/24 dev eth0')
      return new World(lab, folder)
    } catch (error) {
      await lab?.close()
      fs.rmSync(folder, { recursive: true, force: true })
      throw error
    }
  }

  /** Starts the server of `contender` and resolves when it listens. */
  async start(contender: Contender): Promise<Server> {
    await this.#setOffloads(contender !== 'plain' && contender !== 'kernel-plain')
    if (contender === 'kernel' || contender === 'kernel-plain') {
      return this.#start(KERNEL, this.#client(1), [this.program, 'serve', KERNEL])
    }
    return this.#ours('serve', 0, contender)
  }

  /** Starts a standby that watches our server. */
  snoop(contender: Contender): Promise<Server> {
    return this.#ours('snoop', 1, contender)
  }

  /** Starts a node whose proxy leads from our address to the kernel's server, for one of its ports; resolves when it owns. */
  async proxy(port: number): Promise<Server> {
    await this.#setOffloads(true)
    return this.#node(1, port, this.#newFolder(), {}, /"event":"owner"/)
  }

  /** The same with a second node that stands by; `terms` are those of the binding besides its address. The owner is the first. */
  async pair(port: number, terms: object): Promise<[owner: Server, standby: Server]> {
    await this.#setOffloads(true)
    const folder = this.#newFolder()
    const owner = await this.#node(1, port, folder, terms, /"event":"owner"/)
    return [owner, await this.#node(2, port, folder, terms, /"event":"joined"/)]
  }

  #newFolder(): string {
    const folder = fs.mkdtempSync(join(this.#folder, 'proxy-'))
    fs.writeFileSync(join(folder, 'key'), `${'0'.repeat(64)}\n`, { mode: 0o600 })
    return folder
  }

  #node(id: number, port: number, folder: string, terms: object, until: RegExp): Promise<Server> {
    const node = this.#lab.record.nodes[id - 1]
    const file = join(folder, `node${id}.json`)
    const config = {
      id,
      cluster: 'bench',
      keyFile: join(folder, 'key'),
      tap: node?.tap,
      mac: node?.mac,
      binding: { address: `${OURS}/24`, ...terms },
      control: { host: '127.0.0.1' },
      storeDir: join(folder, `store${id}`),
      sharedDir: join(folder, 'shared'),
      fence: 'none',
      app: { name: 'proxy', port, to: `${KERNEL}:${port}` },
    }
    fs.writeFileSync(file, JSON.stringify(config))
    const argv = [process.execPath, NODE, '--config', file]
    return this.#start(OURS, this.#lab.record.switchNamespace, argv, until)
  }

  /**
   * Lets `percent` of the frames to and from the first client vanish on the bridge from now on; 0: none. Throws
   * ERR_BENCH_NO_NFT where there is no nft to do it.
   */
  setLoss(percent: number): void {
    const port = this.#lab.record.clients[0]?.port ?? ''
    const rules = ['iifname', 'oifname'].map(
      (way) => `add rule bridge bench loss ${way} ${port} numgen random mod 100 < ${percent} drop`,
    )
    const hook = 'add chain bridge bench loss { type filter hook forward priority 0; }'
    const table = ['add table bridge bench', 'delete table bridge bench']
    const script = percent > 0 ? [...table, 'add table bridge bench', hook, ...rules] : table
    try {
      this.#lab.space.runScriptIn(
        this.#lab.record.switchNamespace,
        `nft -f - <<'END'\n${script.join('\n')}\nEND`,
      )
    } catch (error) {
      throw new StackError(
        'ERR_BENCH_NO_NFT',
        `frames cannot be dropped on the bridge (${(error as Error).message}): install nftables`,
      )
    }
  }

  /** Octets a second that a C loop on our TAP brings to the kernel's sink. */
  async writeLimit(offload: boolean, seconds: number): Promise<number> {
    const { tap, mac } = this.#lab.record.nodes[0] ?? { tap: '', mac: '' }
    const program = join(this.#folder, 'tap-source')
    const kernel = await this.start(offload ? 'kernel' : 'kernel-plain')
    try {
      const mode = offload ? 'offload' : 'plain'
      const args = [program, tap, mac, OURS, KERNEL, mode, String(seconds)]
      const [rate = 0] = await this.#numbers(this.#lab.record.switchNamespace, args)
      return rate
    } finally {
      await kernel.close()
    }
  }

  /** Runs the load program in the first client and resolves with its numbers. */
  load(...args: readonly (string | number)[]): Promise<number[]> {
    return this.#numbers(this.#client(0), [this.program, ...args.map(String)])
  }

  /** Opens `count` idle connections to `server` and resolves with what closes them. */
  async hold(server: Server, count: number): Promise<() => Promise<void>> {
    const holders: Server[] = []
    for (let held = 0; held < count; held += HELD) {
      const share = String(Math.min(HELD, count - held))
      const args = [this.program, 'idle', server.address, share, FURTHER[held / HELD] ?? '']
      holders.push(await this.#start('', this.#client(0), args))
    }
    return async () => {
      for (const holder of holders) await holder.close()
    }
  }

  /** A lab beside this one, which is closed with the world at the latest. */
  async lab(options: LabOptions): Promise<Lab> {
    const lab = await Lab.create(options)
    this.#labs.add(lab)
    return lab
  }

  async close(): Promise<void> {
    for (const server of this.#servers) await server.close()
    await Promise.all([this.#lab, ...this.#labs].map((lab) => lab.close()))
    fs.rmSync(this.#folder, { recursive: true, force: true })
  }

  async #setOffloads(on: boolean): Promise<void> {
    if (on === this.#offloads) return
    this.#offloads = on
    for (const client of [0, 1]) {
      const args = [this.program, 'offloads', 'eth0', on ? 'on' : 'off']
      await this.#numbers(this.#client(client), args)
    }
  }

  #client(index: number): string {
    return this.#lab.record.clients[index]?.namespace ?? ''
  }

  #ours(role: string, index: number, contender: Contender): Promise<Server> {
    const node = this.#lab.record.nodes[index]
    const argv = [process.execPath, '--expose-gc', '--max-semi-space-size=64', SERVER]
    const args = [role, node?.tap ?? '', node?.mac ?? '', OURS, contender]
    return this.#start(OURS, this.#lab.record.switchNamespace, [...argv, ...args])
  }

  async #start(
    address: string,
    namespace: string,
    argv: readonly string[],
    until = /^/,
  ): Promise<Server> {
    const child = this.#spawn(namespace, argv)
    const said = complaint(child)
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const server = new Server(address, child, lines)
    this.#servers.add(server)
    const ended = once(child, 'exit').then(() => {
      throw new StackError('ERR_BENCH_SERVER', `a server of the bench ended: ${said()}`)
    })
    ended.catch(() => {})
    const ready = new Promise<void>((resolve) => {
      lines.on('line', (line) => {
        if (until.test(line)) resolve()
      })
    })
    await Promise.race([ready, ended])
    return server
  }

  async #numbers(namespace: string, argv: readonly string[]): Promise<number[]> {
    const child = this.#spawn(namespace, argv)
    const said = complaint(child)
    let text = ''
    child.stdout?.on('data', (chunk) => {
      text += String(chunk)
    })
    const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
    const [code] = await once(child, 'close')
    clearTimeout(late)
    if (code === 0) return text.trim().split(/\s+/).map(Number)
    throw new StackError('ERR_BENCH_LOAD', `the load failed: ${said() || 'it took too long'}`)
  }

  #spawn(namespace: string, argv: readonly string[]): ChildProcess {
    const [command = '', ...args] = this.#lab.space.wrapIn(namespace, argv)
    return spawn(command, args, { env: labEnvironment(this.#lab.id), stdio: 'pipe' })
  }
}

function complaint(child: ChildProcess): () => string {
  let said = ''
  child.stderr?.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-2000)
  })
  return () => said.trim()
}

function compile(name: string, folder: string): void {
  const args = ['-O2', '-o', join(folder, name), join(SOURCES, `${name}.c`)]
  const result = spawnSync('cc', args, { encoding: 'utf8' })
  if (result.status === 0) return
  const why = result.stderr ?? result.error?.message ?? ''
  throw new StackError(
    'ERR_BENCH_NO_COMPILER',
    `the bench's load cannot be compiled (${why.trim()}): install a C compiler (Debian package gcc)`,
  )
}
