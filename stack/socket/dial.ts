/**
 * Dial: how a socket gets its connection: the name is looked up, then its addresses are tried, one after the other when
 * there are several (RFC 8305 §5 in the simple form that Node has: one attempt at a time). Each step is told by the events
 * of Node's net.Socket.
 */
import {
  type BlockList,
  getDefaultAutoSelectFamily,
  getDefaultAutoSelectFamilyAttemptTimeout,
  isIP,
} from 'node:net'
import { StackError } from '../base/errors.js'
import type { Connection } from '../tcp/connection.js'
import type { IpAddress } from '../wire/ip-address.js'
import {
  checkFunction,
  checkType,
  invalidAddressFamily,
  invalidIpAddress,
  invalidValue,
  outOfRange,
  validPort,
} from './argument-errors.js'
import type { ConnectOptions, FoundAddress, LookupOptions } from './connect-arguments.js'
import { allAttemptsFailed, bindError, connectError, ipBlocked, lookupError } from './errors.js'
import { presentAddress, resolveHost, resolveOwn, type StackHost } from './host.js'

const ADDRCONFIG = 32
const ALL_HINTS = 32 | 8 | 16
const MIN_ATTEMPT_MS = 10

/** The socket that dials. */
export interface Dialer {
  readonly connecting: boolean
  emit(event: string, ...args: unknown[]): boolean
  destroy(error: Error): unknown
  /** What is dialed is known, or is not any more: what keeps the process alive may have changed. */
  keepAwake(): void
  /** A SYN is about to leave; the dialer hears of this connection and reports its failure to `Dial.failed`. */
  take(connection: Connection): void
  /** Gives up what it took last. */
  abandon(): void
  /** The next attempt begins: traffic, for the idle timer. */
  refresh(): void
}

export class Dial {
  /** `address:port` of each attempt, when there can be several. */
  attempted: string[] | undefined = undefined
  /** True while a look-up of the application's own has not answered. */
  waits = false
  readonly #dialer: Dialer
  readonly #host: StackHost
  readonly #options: ConnectOptions
  readonly #port: number
  readonly #selects: boolean
  readonly #attemptMs: number
  #targets: readonly FoundAddress[] = []
  #next = 0
  #errors: Error[] = []
  #timer: NodeJS.Timeout | null = null

  /** Throws, with Node's codes, when `options` are not what they should be. */
  constructor(dialer: Dialer, host: StackHost, options: ConnectOptions) {
    this.#dialer = dialer
    this.#host = host
    this.#options = options
    checkOptions(options)
    this.#port = validPort(options.port)
    this.#selects = options.autoSelectFamily ?? getDefaultAutoSelectFamily()
    const wanted = options.autoSelectFamilyAttemptTimeout
    this.#attemptMs = Math.max(
      wanted ?? getDefaultAutoSelectFamilyAttemptTimeout(),
      wanted === undefined ? 0 : MIN_ATTEMPT_MS,
    )
  }

  /** The name that is looked up. */
  get name(): string {
    return this.#options.host || 'localhost'
  }

  /** Begins, in a later tick. */
  start(): void {
    const { name } = this
    const { lookup, localAddress } = this.#options
    const family = isIP(name)
    if (family !== 0) {
      process.nextTick(() => this.#attemptOnly({ address: name, family }))
      return
    }
    const terms = this.#lookupTerms()
    const all = this.#selects && terms.family !== 4 && terms.family !== 6 && !localAddress
    if (lookup !== undefined && lookup !== null) {
      // Not every look-up knows of `all`.
      const onFound = (error: Error | null, found: unknown, foundFamily?: number) => {
        this.waits = false
        this.#dialer.keepAwake()
        if (all && (error || Array.isArray(found))) this.#foundAll(error, found as FoundAddress[])
        else this.#found(error, found as string, foundFamily)
      }
      this.waits = true
      lookup(name, all ? { ...terms, all } : terms, onFound)
      this.#dialer.keepAwake()
      return
    }
    const address = this.#host.names?.resolve(name)
    const shown = address === undefined ? undefined : presentAddress(this.#host, address)
    process.nextTick(() => {
      if (shown === undefined) this.#found(lookupError(name), undefined, undefined)
      else this.#found(null, shown, isIP(shown))
    })
  }

  #lookupTerms(): LookupOptions {
    const { family, hints = 0, lookup } = this.#options
    // A look-up of the application's own may know of others.
    if (!lookup && (hints & ~ALL_HINTS) !== 0) throw invalidValue('hints', hints)
    return { family, hints: family !== 4 && family !== 6 && hints === 0 ? ADDRCONFIG : hints }
  }

  #found(error: Error | null, address: string | undefined, family: number | undefined): void {
    const dialer = this.#dialer
    dialer.emit('lookup', error, address, family, this.name)
    if (!dialer.connecting) return
    if (error) this.#fail(error)
    else if (address === undefined || isIP(address) === 0) this.#fail(invalidIpAddress(address))
    else if (family !== 4 && family !== 6) {
      this.#fail(invalidAddressFamily(family, this.#options.host, this.#options.port))
    } else {
      dialer.refresh()
      this.#attemptOnly({ address, family })
    }
  }

  #foundAll(error: Error | null, found: readonly FoundAddress[]): void {
    const dialer = this.#dialer
    if (!dialer.connecting) return
    if (error) {
      dialer.emit('lookup', error, undefined, undefined, this.name)
      this.#fail(error)
      return
    }
    for (const { address, family } of found) {
      dialer.emit('lookup', null, address, family, this.name)
      if (!dialer.connecting) return
    }
    const usable = alternate(
      found.filter((one) => isIP(one.address) !== 0 && [4, 6].includes(one.family)),
    )
    const [first] = usable
    if (first === undefined) {
      const { address, family } = found[0] ?? {}
      if (isIP(String(address)) === 0) this.#fail(invalidIpAddress(address))
      else this.#fail(invalidAddressFamily(family, this.#options.host, this.#options.port))
      return
    }
    dialer.refresh()
    if (usable.length === 1) {
      this.#attemptOnly(first)
      return
    }
    this.#targets = usable
    this.attempted = []
    this.#attemptNext()
  }

  #fail(error: Error): void {
    process.nextTick(() => {
      if (this.#dialer.connecting) this.#dialer.destroy(error)
    })
  }

  #attemptOnly(target: FoundAddress): void {
    this.#targets = [target]
    if (this.#dialer.connecting) this.#attemptNext()
  }

  // One address after the other, until one can be tried.
  #attemptNext(): void {
    const dialer = this.#dialer
    for (;;) {
      const target = this.#targets[this.#next++]
      if (target === undefined) {
        const [only] = this.#errors
        dialer.destroy(
          this.#targets.length === 1 ? (only as Error) : allAttemptsFailed(this.#errors),
        )
        return
      }
      this.attempted?.push(`${target.address}:${this.#port}`)
      const error = this.#attempt(target)
      if (!dialer.connecting) return
      if (error === null) break
      this.#errors.push(error)
    }
    if (this.#next < this.#targets.length) {
      this.#timer = setTimeout(() => this.#handleTimeout(), this.#attemptMs)
    }
  }

  #attempt({ address, family }: FoundAddress): Error | null {
    const host = this.#host
    const port = this.#port
    const { localAddress, blockList } = this.#options
    const localPort = this.#options.localPort || 0
    const remote = resolveHost(host, address)
    const local = localAddress
      ? resolveOwn(host, localAddress)
      : ((remote === undefined ? null : host.names?.ownFor?.(remote)) ?? null)
    if (local === undefined) return bindError('EADDRNOTAVAIL', String(localAddress), localPort)
    if (localPort !== 0 && host.isPortTaken?.(localPort) === true) {
      return bindError('EADDRINUSE', localAddress || '0.0.0.0', localPort)
    }
    if (isBlocked(blockList, address, family)) return ipBlocked(address)
    this.#dialer.emit('connectionAttempt', address, port, family)
    if (!this.#dialer.connecting) return null
    try {
      if (remote === undefined) throw new StackError('ENETUNREACH', 'no such address here')
      this.#dialer.take(
        host.stack.connect(remote as IpAddress, port, host.now(), local as never, localPort),
      )
      host.kick()
      return null
    } catch (error) {
      if (!(error instanceof StackError)) return error as Error
      return connectError(error.code, address, port)
    }
  }

  /** The attempt under way has failed. */
  failed(code: string): void {
    this.stop()
    const target = this.#targets[this.#next - 1] as FoundAddress
    const error = connectError(code, target.address, this.#port)
    this.#errors.push(error)
    this.#dialer.emit('connectionAttemptFailed', target.address, this.#port, target.family, error)
    if (!this.#dialer.connecting) return
    this.#dialer.abandon()
    this.#attemptNext()
  }

  #handleTimeout(): void {
    this.#timer = null
    if (!this.#dialer.connecting) return
    const target = this.#targets[this.#next - 1] as FoundAddress
    this.#errors.push(connectError('ETIMEDOUT', target.address, this.#port))
    this.#dialer.emit('connectionAttemptTimeout', target.address, this.#port, target.family)
    if (!this.#dialer.connecting) return
    this.#dialer.abandon()
    this.#attemptNext()
  }

  /** An attempt has succeeded, or none is wanted any more. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}

function checkOptions(options: ConnectOptions): void {
  const { localAddress, localPort, lookup, autoSelectFamily } = options
  if (localAddress && isIP(localAddress) === 0) throw invalidIpAddress(localAddress)
  if (localPort) checkType(localPort, 'number', 'options.localPort')
  if (autoSelectFamily !== undefined && autoSelectFamily !== null) {
    checkType(autoSelectFamily, 'boolean', 'options.autoSelectFamily')
  }
  const attemptMs = options.autoSelectFamilyAttemptTimeout
  if (attemptMs !== undefined) {
    const name = 'options.autoSelectFamilyAttemptTimeout'
    checkType(attemptMs, 'number', name)
    if (!Number.isInteger(attemptMs)) throw outOfRange(name, 'an integer', attemptMs)
    if (attemptMs < 1 || attemptMs > 2 ** 31 - 1) {
      throw outOfRange(name, '>= 1 && <= 2147483647', attemptMs)
    }
  }
  if (isIP(options.host || 'localhost') !== 0) return
  if (lookup !== undefined && lookup !== null) checkFunction(lookup, 'options.lookup')
}

// RFC 8305 §4: the families take turns, that of the first address first. Each address is tried once.
function alternate(found: readonly FoundAddress[]): FoundAddress[] {
  const once = found.filter((one, i) => found.findIndex((o) => o.address === one.address) === i)
  const first = once[0]?.family
  const lead = once.filter((one) => one.family === first)
  const other = once.filter((one) => one.family !== first)
  const mixed: FoundAddress[] = []
  for (let i = 0; i < Math.max(lead.length, other.length); i++) {
    mixed.push(...lead.slice(i, i + 1), ...other.slice(i, i + 1))
  }
  return mixed
}

function isBlocked(list: BlockList | undefined, address: string, family: number): boolean {
  return list?.check(address, family === 6 ? 'ipv6' : 'ipv4') === true
}
