/**
 * Calls: the requests of a script player, one at a time: packets in, time on, socket calls. Each answer carries the time and
 * what left meanwhile. The stack is made at the first request that needs it, so that the options that hold for the whole
 * stack can be set before.
 */
import { type IpAddress, parseIpAddress, StackError, TCP_STATE_NAMES } from '../../stack/index.js'
import { Descriptor, failed, type Result } from './descriptor.js'
import { type Departure, RawLink } from './raw-link.js'
import {
  namedValue,
  type StackSettings,
  setSocketOption,
  type Unsupported,
} from './socket-options.js'

// What other stacks begin with, as scripts count on windows of about this size.
const DEFAULT_RECEIVE_LIMIT = 65_535
const FIRST_DESCRIPTOR = 3
const TCP_IP_HEADERS = 40
// RFC 791: every module must be able to forward so much.
const MIN_MTU = 68

/** One line from the player. */
export interface Request {
  readonly op: string
  readonly [field: string]: unknown
}

/** One line to the player. */
export interface Answer {
  readonly now?: number
  readonly out?: readonly Departure[]
  readonly states?: readonly string[]
  readonly [field: string]: unknown
}

type Answered = Result | Unsupported

interface Network {
  readonly local: IpAddress
  readonly remote: IpAddress
  readonly mtu: number
  readonly seed: number
}

export class Calls {
  readonly #settings: StackSettings = {
    receiveLimit: DEFAULT_RECEIVE_LIMIT,
    maxSegment: null,
    settled: false,
  }
  readonly #sockets = new Map<number, Descriptor>()
  #network: Network | null = null
  #link: RawLink | null = null
  /** Time that passed before the stack was made, in microseconds. */
  #waitedUs = 0

  /** Answers one request. Throws StackError for one that is no request of the protocol. */
  answer(request: Request): Answer {
    switch (request.op) {
      case 'init':
        return this.#init(request)
      case 'inject':
        this.#settledLink().inject(readPacket(request.pkt))
        return this.#report()
      case 'advance':
        this.#advance(readInteger(request.us, 'us', 0))
        return this.#report()
      case 'state':
        return { states: this.#states() }
      case 'call':
        return { ...this.#call(String(request.fn), readList(request.args)), ...this.#report() }
      default:
        throw new StackError('EINVAL', `op ${request.op}: see understudy adapter --help`)
    }
  }

  #init(request: Request): Answer {
    if (this.#network !== null) throw new StackError('EINVAL', 'init comes once, and first')
    this.#network = {
      local: parseIpAddress(String(request.local), 'local'),
      remote: parseIpAddress(String(request.remote), 'remote'),
      mtu: readInteger(request.mtu ?? 1500, 'mtu', MIN_MTU),
      seed: readInteger(request.seed ?? 1, 'seed', 0),
    }
    return { now: 0 }
  }

  #openLink(): RawLink {
    if (this.#link !== null) return this.#link
    this.#link = this.#newLink(this.#waitedUs)
    return this.#link
  }

  #newLink(nowUs: number): RawLink {
    if (this.#network === null) throw new StackError('EINVAL', 'init comes first')
    const { maxSegment, receiveLimit } = this.#settings
    const mtu = Math.min(this.#network.mtu, (maxSegment ?? this.#network.mtu) + TCP_IP_HEADERS)
    return new RawLink({ ...this.#network, mtu, receiveLimit }, nowUs)
  }

  // The link for something that leaves or arrives: from now on the stack is what it is.
  #settledLink(): RawLink {
    const link = this.#openLink()
    this.#settings.settled = true
    return link
  }

  // An option that holds for the whole stack was set behind listen, but nobody has heard of the stack so far: it is made anew.
  #refit(): void {
    if (this.#link === null || this.#settings.settled) return
    this.#link = this.#newLink(this.#link.nowUs)
    for (const socket of this.#sockets.values()) socket.listenOn(this.#link)
  }

  #advance(us: number): void {
    if (this.#link === null) this.#waitedUs += us
    else this.#link.advance(us)
  }

  #report(): Answer {
    if (this.#link === null) return { now: this.#waitedUs, out: [] }
    this.#link.settle()
    return { now: this.#link.nowUs, out: this.#link.takeSent() }
  }

  // Names as netstat has them: SYN_RCVD, not SYN_RECEIVED.
  #states(): string[] {
    const states = [...this.#sockets.values()]
      .filter((s) => s.listener !== null)
      .map(() => 'LISTEN')
    for (const c of this.#link?.stack.tcp.demux.connections() ?? []) {
      states.push((TCP_STATE_NAMES[c.state] as string).replace('RECEIVED', 'RCVD'))
    }
    return states
  }

  #call(fn: string, args: readonly unknown[]): Answered {
    if (fn === 'socket') return { ret: this.#place(new Descriptor()) }
    const fd = args[0]
    const socket = typeof fd === 'number' ? this.#sockets.get(fd) : undefined
    if (socket === undefined) return failed('EBADF')
    socket.endOpening()
    switch (fn) {
      case 'bind':
        return this.#bind(socket, args[1], readInteger(args[2], 'port', 0, 0xffff))
      case 'listen':
        if (socket.localPort === 0) return { unsupported: 'listen without bind' }
        return socket.listen(this.#openLink(), readInteger(args[1], 'backlog'))
      case 'accept':
        return this.#accept(socket)
      case 'connect':
        return socket.connect(
          this.#settledLink(),
          parseIpAddress(String(args[1])),
          readInteger(args[2], 'port', 1, 0xffff),
        )
      case 'read':
        return socket.read(readInteger(args[1], 'length', 0), args[2] === 'peek')
      case 'write':
        return socket.write(readText(args[1]), args[2] === 'more')
      case 'shutdown':
        return this.#shutdown(socket, args[1])
      case 'close':
        this.#sockets.delete(fd as number)
        return socket.close(this.#openLink())
      case 'error':
        return socket.error()
      case 'setsockopt':
        return this.#setOption(socket, String(args[2]), args[3])
      default:
        return { unsupported: `call ${fn}` }
    }
  }

  // The lowest free number, as POSIX has it.
  #place(socket: Descriptor): number {
    let fd = FIRST_DESCRIPTOR
    while (this.#sockets.has(fd)) fd++
    this.#sockets.set(fd, socket)
    return fd
  }

  #bind(socket: Descriptor, text: unknown, port: number): Result {
    const address = parseIpAddress(String(text))
    const any = address === 0
    if (!any && address !== this.#network?.local) return failed('EADDRNOTAVAIL')
    for (const other of this.#sockets.values()) {
      if (other.listener !== null && other.localPort === port) return failed('EADDRINUSE')
    }
    return socket.bind(any ? null : address, port)
  }

  #accept(socket: Descriptor): Result {
    if (socket.listener === null) return failed('EINVAL')
    const connection = socket.listener.accept()
    if (connection === null) return failed('EAGAIN')
    return { ret: this.#place(Descriptor.accepted(connection, socket)) }
  }

  #setOption(socket: Descriptor, name: string, given: unknown): Answered {
    const value = typeof given === 'string' ? namedValue(name, given) : readValue(given)
    // A name of the player's system instead of a number: an option that is not ours.
    if (value === null) return { unsupported: `setsockopt ${name} ${given}` }
    const answer = setSocketOption(socket, this.#settings, name, value)
    this.#refit()
    return answer
  }

  #shutdown(socket: Descriptor, how: unknown): Result {
    const input = how === 'SHUT_RD' || how === 'SHUT_RDWR' || how === 0 || how === 2
    const output = how === 'SHUT_WR' || how === 'SHUT_RDWR' || how === 1 || how === 2
    if (!input && !output) return failed('EINVAL')
    return socket.shutdown(this.#openLink(), input, output)
  }
}

function readInteger(
  value: unknown,
  name: string,
  least = Number.MIN_SAFE_INTEGER,
  most = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most) {
    return value
  }
  throw new StackError('EINVAL', `${name}: an integer is wanted, not ${JSON.stringify(value)}`)
}

function readList(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw new StackError('EINVAL', 'args is a list')
}

function readHex(value: unknown, name: string): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'hex') : null
  if (bytes !== null && bytes.length * 2 === (value as string).length) return bytes
  throw new StackError('EINVAL', `${name}: octets in hexadecimal are wanted`)
}

function readPacket(value: unknown): Buffer {
  return readHex(value, 'pkt')
}

// So many octets of any content, or the octets themselves.
function readText(value: unknown): Buffer {
  if (typeof value === 'string') return readHex(value, 'data')
  return Buffer.alloc(readInteger(value, 'length', 0), 'understudy ')
}

function readValue(value: unknown): number | readonly [number, number] {
  if (!Array.isArray(value)) return readInteger(value, 'value')
  return [readInteger(value[0], 'onoff'), readInteger(value[1], 'seconds')]
}
