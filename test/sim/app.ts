/**
 * ServerApp: the deterministic applications of the simulation, on the Connection itself, with checkpoints (A1, A2):
 *
 *   download  GET <seed> <length>: the text of the seed; checkpoint once the request is read; skips what was sent
 *   upload    PUT <seed> <length> and the text: written to the shared disk, checkpoint each so many octets, answer a hash
 *   echo      every octet back, checkpoint with each chunk, output that has not left goes with it
 *   replay    every octet back, changed; no checkpoint at all: regenerated from the start and compared
 */
import { type CheckpointStore, type FlowKey, proxyHeader } from '../../cluster/index.js'
import type { Resumption } from '../../cluster/resume-point.js'
import {
  type Connection,
  ConnectionEvent,
  firstUnshared,
  type IpAddress,
  type Millis,
  NEVER,
} from '../../stack/index.js'
import type { NodeHost } from './host.js'
import { BINDING, CLIENT_ADDRESS, VIRTUAL_ADDRESS } from './place.js'
import { fillPattern } from './prng.js'

export const PORTS = { download: 80, upload: 81, echo: 82, replay: 83 } as const
export type Kind = keyof typeof PORTS

/** How the applications of a run behave. */
export interface ServerConfig {
  /** Octets between two checkpoints of an upload. */
  readonly commitEvery: number
  /** Octets that an application reads at once, and how long it then rests. */
  readonly readMax: number
  readonly restMs: Millis
  /** A resumed download produces its output again instead of skipping what was sent. */
  readonly regenerates: boolean
}

interface Request {
  readonly seed: number
  readonly length: number
  readonly stored: number
  readonly answered: boolean
}

const CLIENT_ENDS = {
  localAddress: VIRTUAL_ADDRESS,
  remoteAddress: CLIENT_ADDRESS,
  remotePort: 60_000,
}
const NOTHING = new Uint8Array(0)
const CHUNK = new Uint8Array(4096)
const INPUT = new Uint8Array(65536)

/** The machine that an application runs on. */
export type AppHost = Pick<NodeHost, 'id' | 'stack' | 'site'>

/** What a machine runs. */
export interface App {
  nextDeadline(): Millis
  /** Takes the news of the stack. */
  dispatch(now: Millis): void
}

export class ServerApp implements App {
  readonly #host: AppHost
  readonly #checkpoints: CheckpointStore
  readonly #config: ServerConfig
  readonly #resting = new Set<Session>()
  /** Connections that were accepted. */
  accepted = 0

  constructor(
    host: AppHost,
    checkpoints: CheckpointStore,
    config: ServerConfig,
    address: IpAddress = VIRTUAL_ADDRESS,
  ) {
    this.#host = host
    this.#checkpoints = checkpoints
    this.#config = config
    for (const port of Object.values(PORTS)) host.stack.listen(address, port)
  }

  nextDeadline(): Millis {
    let earliest = NEVER
    for (const session of this.#resting) earliest = Math.min(earliest, session.restsUntil)
    return earliest
  }

  dispatch(now: Millis): void {
    const { stack } = this.#host
    for (let l = stack.pollAccept(); l !== null; l = stack.pollAccept()) {
      for (let c = l.accept(); c !== null; c = l.accept()) {
        const session = new Session(this.#host, c, this.#checkpoints, this.#config)
        c.context = session
        this.accepted++
        this.#pump(session, now)
      }
    }
    for (let c = stack.pollReady(); c !== null; c = stack.pollReady()) {
      if (c.error === 'ERR_INPUT_LOST')
        this.#host.site.observer.handleInputLost(this.#host, c.remotePort)
      const session = c.context as Session | null
      if (session === null) continue
      const events = c.events
      c.events = 0
      if ((events & ConnectionEvent.CLOSED) !== 0) session.handleClosed()
      else this.#pump(session, now)
    }
    for (const session of [...this.#resting]) {
      if (now >= session.restsUntil) this.#pump(session, now)
    }
  }

  #pump(session: Session, now: Millis): void {
    session.pump(now)
    if (session.restsUntil < NEVER) this.#resting.add(session)
    else this.#resting.delete(session)
  }
}

class Session {
  restsUntil: Millis = NEVER
  readonly #host: AppHost
  readonly #c: Connection
  readonly #checkpoints: CheckpointStore
  readonly #config: ServerConfig
  readonly #key: FlowKey
  #request: Request | null = null
  #line = ''
  #pending: Uint8Array = NOTHING
  #committed = 0
  #ended = false
  // What the proxy has still to say of the client.
  #header: Uint8Array | null = null
  #heard = 0

  constructor(host: AppHost, c: Connection, checkpoints: CheckpointStore, config: ServerConfig) {
    this.#host = host
    this.#c = c
    this.#checkpoints = checkpoints
    this.#config = config
    this.#key = {
      binding: BINDING.id,
      localAddress: c.localAddress as IpAddress,
      localPort: c.localPort,
      remoteAddress: c.remoteAddress as IpAddress,
      remotePort: c.remotePort,
    }
    const { header } = host.site
    if (header !== null)
      this.#header = proxyHeader(header, { ...CLIENT_ENDS, localPort: c.localPort })
    const resumption = c.resumption as Resumption | null
    if (resumption !== null) this.#resume(resumption)
  }

  #resume(resumption: Resumption): void {
    const { input, output, sent, state } = resumption
    this.#request = state as Request | null
    if (this.#request !== null) this.#committed = this.#request.stored
    this.#host.site.world.note(
      `n${this.#host.id} resumes :${this.#c.remotePort} input ${input} output ${output} sent ${sent}`,
    )
    const { localPort } = this.#c
    if (localPort === PORTS.download && this.#request !== null && !this.#config.regenerates) {
      this.#c.output.skip(Math.max(sent - output, 0))
    }
  }

  pump(now: Millis): void {
    const c = this.#c
    if (c.released || c.closed) {
      this.restsUntil = NEVER
      return
    }
    if (this.restsUntil !== NEVER && now < this.restsUntil) return
    this.restsUntil = NEVER
    if (!this.#hearHeader()) return
    if (c.localPort === PORTS.download) this.#download()
    else if (c.localPort === PORTS.upload) this.#upload(now)
    else this.#echo(now, c.localPort === PORTS.echo ? 0 : 0xa5)
    if (this.#ended && c.inputEnded && !c.released) c.detach(now)
  }

  // Reads the header. False until it is whole.
  #hearHeader(): boolean {
    const header = this.#header
    const octet = INPUT.subarray(0, 1)
    while (header !== null && this.#heard < header.length) {
      if (this.#c.read(octet, 0, 1) === 0) return false
      // All but the client's port, which is another for each stream.
      if (octet[0] !== header[this.#heard] && !this.#isPort(header)) {
        this.#host.site.world.violate(`stream: octet ${this.#heard} of the header is ${octet[0]}`)
        this.#c.abort()
        return false
      }
      this.#heard++
    }
    return true
  }

  // v1 ends in two ports of five digits and two, v2 in two of two octets each.
  #isPort({ length }: Uint8Array): boolean {
    const [from, to] = this.#host.site.header === 'v1' ? [10, 5] : [4, 2]
    return this.#heard >= length - from && this.#heard < length - to
  }

  handleClosed(): void {
    const c = this.#c
    this.restsUntil = NEVER
    if (c.error === 'ERR_OUTPUT_DIVERGED') {
      this.#host.site.world.violate(
        `stream: output of :${c.remotePort} diverged at ${c.output.divergedAt}`,
      )
    }
    if (!c.released && c.closed) this.#checkpoints.remove(this.#key)
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#c.shutdown()
  }

  // Reads the request's line. False until it is whole.
  #readRequest(verb: string): boolean {
    const octet = INPUT.subarray(0, 1)
    while (this.#request === null && this.#c.read(octet, 0, 1) === 1) {
      this.#line += String.fromCharCode(octet[0] as number)
      if (!this.#line.endsWith('\n')) continue
      const match = /^(\w+) (-?\d+) (\d+)\n$/.exec(this.#line)
      if (match === null || match[1] !== verb) {
        this.#host.site.world.violate(`stream: a request reads ${JSON.stringify(this.#line)}`)
        this.#c.abort()
        return false
      }
      this.#request = {
        seed: Number(match[2]),
        length: Number(match[3]),
        stored: 0,
        answered: false,
      }
      this.#commit(this.#c.inputOffset, this.#c.output.offset, this.#request)
    }
    return this.#request !== null
  }

  #download(): void {
    const c = this.#c
    if (this.#readRequest('GET')) {
      const { seed, length } = this.#request as Request
      while (c.output.offset < length && !c.closed) {
        const wanted = Math.min(CHUNK.length, length - c.output.offset)
        fillPattern(seed, c.output.offset, CHUNK, 0, wanted)
        if (c.write(CHUNK, 0, wanted) < wanted) break
      }
      if (c.output.offset >= length) this.#end()
    }
    while (c.read(INPUT, 0, INPUT.length) > 0);
  }

  #upload(now: Millis): void {
    const c = this.#c
    if (!this.#readRequest('PUT')) return
    let request = this.#request as Request
    if (request.stored < request.length) {
      const most = Math.min(this.#config.readMax, request.length - request.stored)
      const length = c.read(INPUT, 0, most)
      this.#host.site.disk.write(request.seed, request.stored, INPUT, 0, length)
      request = { ...request, stored: request.stored + length }
      this.#request = request
      if (request.stored - this.#committed >= this.#config.commitEvery) {
        this.#committed = request.stored
        this.#commit(c.inputOffset, c.output.offset, request)
      }
      if (request.stored < request.length) this.#rest(now, length)
    }
    if (request.stored < request.length) return
    if (!request.answered) {
      const hash = this.#host.site.disk.hash(request.seed) >>> 0
      const answer = Buffer.from(`OK ${hash.toString(16)}\n`)
      c.write(answer, 0, answer.length)
      this.#request = { ...request, answered: true }
      this.#commit(c.inputOffset, c.output.offset, this.#request)
    }
    this.#end()
    while (c.read(INPUT, 0, INPUT.length) > 0);
  }

  // More is there to read: later, when this application is a slow one.
  #rest(now: Millis, length: number): void {
    if (length === 0) return
    if (this.#config.restMs > 0 || this.#c.readable > 0) this.restsUntil = now + this.#config.restMs
  }

  #echo(now: Millis, key: number): void {
    const c = this.#c
    if (this.#pending.length === 0) {
      const length = c.read(INPUT, 0, Math.min(this.#config.readMax, 16_384))
      this.#pending = INPUT.slice(0, length).map((octet) => octet ^ key)
      this.#rest(now, length)
    }
    if (this.#pending.length > 0) {
      const taken = c.write(this.#pending, 0, this.#pending.length)
      this.#pending = this.#pending.subarray(taken)
      if (key === 0 && taken > 0) {
        this.#commit(c.inputOffset - this.#pending.length, c.output.offset, null)
      }
      if (this.#pending.length === 0 && c.readable > 0 && this.restsUntil === NEVER)
        this.restsUntil = now
    }
    if (this.#pending.length === 0 && c.inputEnded) this.#end()
  }

  // As the socket's commit does it: output that has not left yet goes with the checkpoint.
  #commit(input: number, output: number, state: unknown): void {
    const { tcb, buffers } = this.#c
    const from = firstUnshared(this.#c)
    const unsent = new Uint8Array(Math.max(output - from, 0))
    if (unsent.length > 0) buffers.sent.copyTo(from, unsent.length, unsent, 0)
    this.#checkpoints.put(this.#key, { input, output, unsent, state, iss: tcb.iss, irs: tcb.irs })
  }
}
