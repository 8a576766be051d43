/**
 * Session: what a client has under way beyond the keys: a transaction that it collects, keys that it watches, channels that it hears.
 * All of it is a JSON value, so that it goes into the connection's checkpoint and on to the next owner.
 */

import type { Channels, Subscriber } from './channels.js'
import { COLLECTIONS } from './collections.js'
import { Budget, type Command, type Commands, type Context } from './command.js'
import { KEYS } from './keys.js'
import { CommandError, type Keyspace } from './keyspace.js'
import { array, bulk, Dialect, failure, integer, OK, simple } from './resp.js'
import { SORTED_SETS } from './sorted-sets.js'
import { STRINGS } from './strings.js'

const COMMANDS: Commands = { ...KEYS, ...STRINGS, ...COLLECTIONS, ...SORTED_SETS }
const MAX_QUEUED = 10_000
/** Octets of what is queued at most: it is in each checkpoint until EXEC. */
const MAX_QUEUED_OCTETS = 1024 * 1024
const MAX_WATCHED = 1000
const MAX_CHANNELS = 1000
/** What a client that hears channels may ask by RESP2. */
const WHILE_SUBSCRIBED = ['SUBSCRIBE', 'UNSUBSCRIBE', 'PSUBSCRIBE', 'PUNSUBSCRIBE', 'PING', 'QUIT']

/** A session as it is stored. */
interface Stored {
  readonly version: 2 | 3
  readonly queued: readonly string[][] | null
  readonly broken: boolean
  readonly watched: readonly (readonly [string, number])[]
  readonly channels: readonly string[]
  readonly patterns: readonly string[]
}

// With what each word takes beside its text.
function octetsOf(request: readonly string[]): number {
  return request.reduce((sum, word) => sum + word.length + 8, 0)
}

export class Session implements Subscriber {
  /** The client wants to leave: the connection ends behind the answer. */
  leaving = false
  readonly channels = new Set<string>()
  readonly patterns = new Set<string>()
  readonly deliver: (message: string) => void
  readonly #context: Context
  readonly #dialect = new Dialect()
  readonly #all: Channels
  #queued: string[][] | null = null
  #queuedOctets = 0
  #broken = false
  readonly #watched = new Map<string, number>()

  /** `deliver` sends a message of a channel to the client. */
  constructor(keyspace: Keyspace, channels: Channels, deliver: (message: string) => void) {
    this.#context = { keyspace, dialect: this.#dialect, budget: new Budget() }
    this.#all = channels
    this.deliver = deliver
  }

  /** What the next owner needs to know, or null when that is nothing. */
  get state(): Stored | null {
    const { channels, patterns } = this
    const version = this.#dialect.version
    const idle =
      this.#queued === null && this.#watched.size === 0 && channels.size + patterns.size === 0
    if (idle && version === 2) return null
    return {
      version,
      queued: this.#queued,
      broken: this.#broken,
      watched: [...this.#watched],
      channels: [...channels],
      patterns: [...patterns],
    }
  }

  restore(state: unknown): void {
    const stored = state as Stored | null
    if (stored === null || stored === undefined) return
    this.#dialect.version = stored.version
    this.#queued = stored.queued === null ? null : stored.queued.map((request) => [...request])
    this.#queuedOctets = (this.#queued ?? []).reduce((sum, each) => sum + octetsOf(each), 0)
    this.#broken = stored.broken
    for (const [key, version] of stored.watched) this.#watched.set(key, version)
    for (const name of stored.channels) this.#subscribe(name, false)
    for (const name of stored.patterns) this.#subscribe(name, true)
  }

  /** The client is gone. */
  end(): void {
    this.#all.forget(this)
  }

  /** The answer to `request`. */
  answer(request: readonly string[]): string {
    this.#context.budget.renew()
    return this.#answer(request)
  }

  #answer(request: readonly string[]): string {
    const [first, ...args] = request
    if (first === undefined) return ''
    const name = first.toUpperCase()
    try {
      const own = this.#own(name, args)
      if (own !== undefined) return own
      const command = this.#find(name, first, args)
      if (this.#queued === null) return command.run(this.#context, args)
      this.#queuedOctets += octetsOf(request)
      if (this.#queued.length >= MAX_QUEUED || this.#queuedOctets > MAX_QUEUED_OCTETS)
        throw new CommandError('ERR too many queued commands')
      this.#queued.push([...request])
      return simple('QUEUED')
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      if (this.#queued !== null) this.#broken = true
      return failure(error.message)
    }
  }

  #find(name: string, first: string, args: readonly string[]): Command {
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
    if (command === undefined) {
      const shown = args
        .slice(0, 3)
        .map((arg) => `'${arg.slice(0, 20)}'`)
        .join(' ')
      throw new CommandError(
        `ERR unknown command '${first.slice(0, 64)}', with args beginning with: ${shown}`,
      )
    }
    const count = args.length + 1
    if (command.arity > 0 ? count !== command.arity : count < -command.arity) {
      throw new CommandError(`ERR wrong number of arguments for '${name.toLowerCase()}' command`)
    }
    return command
  }

  // Commands about the session itself; undefined: it is none of them.
  #own(name: string, args: readonly string[]): string | undefined {
    const subscribed = this.channels.size + this.patterns.size > 0
    if (subscribed && this.#dialect.version === 2 && !WHILE_SUBSCRIBED.includes(name)) {
      throw new CommandError(
        `ERR Can't execute '${name.toLowerCase()}': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT are allowed in this context`,
      )
    }
    switch (name) {
      case 'QUIT':
        this.leaving = true
        return OK
      case 'MULTI':
        if (this.#queued !== null) throw new CommandError('ERR MULTI calls can not be nested')
        this.#queued = []
        return OK
      case 'EXEC':
        return this.#execute()
      case 'DISCARD':
        if (this.#queued === null) throw new CommandError('ERR DISCARD without MULTI')
        this.#reset()
        return OK
      case 'WATCH':
        if (this.#queued !== null) throw new CommandError('ERR WATCH inside MULTI is not allowed')
        if (this.#watched.size + args.length > MAX_WATCHED)
          throw new CommandError(`ERR a client watches ${MAX_WATCHED} keys at most`)
        for (const key of args) this.#watched.set(key, this.#versionOf(key))
        return OK
      case 'UNWATCH':
        this.#watched.clear()
        return OK
      case 'RESET':
        this.#reset()
        this.#all.forget(this)
        this.#dialect.version = 2
        return simple('RESET')
      case 'SUBSCRIBE':
      case 'PSUBSCRIBE':
        return args.map((each) => this.#subscribed(name, each)).join('')
      case 'UNSUBSCRIBE':
      case 'PUNSUBSCRIBE':
        return this.#unsubscribed(name, args)
      case 'PUBLISH':
        if (this.#queued !== null || args.length !== 2) return undefined
        return integer(this.#all.publish(args[0] as string, args[1] as string))
      default:
        return undefined
    }
  }

  #versionOf(key: string): number {
    return this.#context.keyspace.get(key)?.version ?? 0
  }

  #reset(): void {
    this.#queued = null
    this.#queuedOctets = 0
    this.#broken = false
    this.#watched.clear()
  }

  #execute(): string {
    const queued = this.#queued
    if (queued === null) throw new CommandError('ERR EXEC without MULTI')
    const broken = this.#broken
    const changed = [...this.#watched].some(([key, version]) => this.#versionOf(key) !== version)
    this.#reset()
    if (broken) return failure('EXECABORT Transaction discarded because of previous errors.')
    if (changed) return this.#dialect.nilArray
    return array(queued.map((request) => this.#answer(request)))
  }

  #subscribed(name: string, channel: string): string {
    const pattern = name === 'PSUBSCRIBE'
    if (this.channels.size + this.patterns.size >= MAX_CHANNELS) {
      throw new CommandError(`ERR a client hears ${MAX_CHANNELS} channels at most`)
    }
    this.#subscribe(channel, pattern)
    return this.#heard(name.toLowerCase(), channel)
  }

  #subscribe(channel: string, pattern: boolean): void {
    if (pattern) this.patterns.add(channel)
    else this.channels.add(channel)
    this.#all.add(this)
  }

  #unsubscribed(name: string, args: readonly string[]): string {
    const from = name === 'UNSUBSCRIBE' ? this.channels : this.patterns
    const names = args.length > 0 ? args : [...from]
    const told = names.map((channel) => {
      from.delete(channel)
      return this.#heard(name.toLowerCase(), channel)
    })
    if (this.channels.size + this.patterns.size === 0) this.#all.forget(this)
    return told.length > 0 ? told.join('') : this.#heard(name.toLowerCase(), null)
  }

  #heard(what: string, channel: string | null): string {
    const shown = channel === null ? this.#dialect.nil : bulk(channel)
    const count = integer(this.channels.size + this.patterns.size)
    return this.#dialect.push([bulk(what), shown, count])
  }

  /** A message of a channel as this client's protocol has it. */
  message(words: readonly string[]): string {
    return this.#dialect.push(words.map(bulk))
  }
}
