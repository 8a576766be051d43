/**
 * The key-value store (A4): commands of Redis over RESP2 and RESP3. Each batch of requests is one transaction of the checkpoint
 * store: what it changed, the answers and how far the connection has come are there together, or not at all. So a request that
 * was answered is never lost, and none is carried out twice, whenever the owner dies.
 */
import type { StateTable } from '../../cluster/io/index.js'
import type { Socket } from '../../stack/socket/net.js'
import type { DataStore } from '../data-store.js'
import { dismiss, isForOwner, limitSilence, SILENCE_MS } from '../patience.js'
import { Channels } from './channels.js'
import { MAX_ANSWER } from './command.js'
import { Keyspace } from './keyspace.js'
import { failure, ProtocolError, RequestReader } from './resp.js'
import { Session } from './session.js'
import { Turns } from './turns.js'

/** Entries cleared away in one turn. */
const SWEPT_AT_ONCE = 200
/** Octets of answers that are written at once. */
const BATCH = 256 * 1024
/** Octets that may wait for a client that hears channels and does not read. */
const MAX_BEHIND = 1024 * 1024

/**
 * What serves a connection, with its data in `store`. `now` is milliseconds since 1970; `silenceMs`: how long a client may be silent that owes
 * the rest of a request or does not take its answers.
 */
export function createKvServer(
  store: DataStore,
  now: () => number = Date.now,
  silenceMs = SILENCE_MS,
): (socket: Socket) => void {
  const table: StateTable<Uint8Array> = store.open('kv', 'octets')
  const keyspace = new Keyspace(table, now)
  const channels = new Channels()
  const sweeper = new Sweeper(store, keyspace)
  const turns = new Turns()
  return (socket) => {
    const client = new Client(socket, store, keyspace, channels, turns)
    socket.setNoDelay()
    socket.on('error', () => socket.destroy())
    socket.on('close', () => client.session.end())
    socket.on('data', (chunk: Buffer) => {
      client.take(chunk)
      sweeper.wake()
    })
    socket.on('drain', () => client.work())
    socket.on('end', () => socket.end())
    limitSilence(socket, silenceMs, () => client.owes)
  }
}

/** Clears away what was removed, a little in each turn of the loop. */
class Sweeper {
  readonly #store: DataStore
  readonly #keyspace: Keyspace
  #timer: NodeJS.Immediate | null = null

  constructor(store: DataStore, keyspace: Keyspace) {
    this.#store = store
    this.#keyspace = keyspace
  }

  /** Something may have been removed. */
  wake(): void {
    if (this.#keyspace.swept || this.#timer !== null) return
    this.#timer = setImmediate(() => {
      this.#timer = null
      if (this.#sweep()) this.wake()
    })
  }

  // False: it is for another node to go on.
  #sweep(): boolean {
    try {
      this.#store.transaction(() => this.#keyspace.sweep(SWEPT_AT_ONCE))
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_NOT_OWNER') return false
      throw error
    }
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

class Client {
  readonly session: Session
  readonly #socket: Socket
  readonly #store: DataStore
  readonly #keyspace: Keyspace
  readonly #turns: Turns
  readonly #reader = new RequestReader()
  #waits = false

  constructor(
    socket: Socket,
    store: DataStore,
    keyspace: Keyspace,
    channels: Channels,
    turns: Turns,
  ) {
    this.#socket = socket
    this.#store = store
    this.#keyspace = keyspace
    this.#turns = turns
    this.session = new Session(keyspace, channels, (message) => this.#deliver(message))
    const resumed = socket.resumed as { readonly state: unknown } | null
    if (resumed === null) return
    this.session.restore(resumed.state)
    // The node before us may have died while it cleared away.
    keyspace.swept = false
  }

  /** The client has begun a request and not ended it, or does not take its answers. */
  get owes(): boolean {
    return !this.#waits && (this.#reader.waiting > 0 || this.#socket.writableNeedDrain)
  }

  take(chunk: Buffer): void {
    this.#reader.push(chunk)
    this.work()
  }

  /** Carries out what has come, as long as the client takes the answers. */
  work(): void {
    const socket = this.#socket
    if (this.#waits) return
    let room = !socket.writableNeedDrain
    let served = false
    try {
      while (room && this.#reader.waiting > 0 && !socket.destroyed && socket.writable) {
        if (this.#turns.over) {
          this.#rest(served)
          return
        }
        const before = this.#reader.waiting
        room = this.#store.transaction(() => this.#batch())
        served = true
        if (this.#reader.waiting === before) break
      }
    } catch (error) {
      if (!isForOwner(error, socket, () => this.#again())) throw error
      this.#waits = true
      return
    }
    // Who was told to go is heard, and not listened to.
    if (room || !socket.writable) socket.resume()
    else socket.pause()
  }

  // There is more to do, and others have a turn meanwhile.
  #rest(served: boolean): void {
    this.#waits = true
    this.#socket.pause()
    this.#turns.defer(() => this.#again(), served)
  }

  #again(): void {
    this.#waits = false
    if (!this.#socket.destroyed) this.work()
  }

  // True when the client takes more.
  #batch(): boolean {
    const socket = this.#socket
    this.#keyspace.refresh()
    let answers = ''
    let ends = false
    try {
      while (answers.length < BATCH && !ends) {
        const request = this.#reader.next()
        if (request === null) break
        const answer = this.session.answer(request)
        answers += answer.length <= MAX_ANSWER ? answer : failure('ERR the answer is too long')
        ends = this.session.leaving
        if (this.#turns.over) break
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      answers += failure(`ERR Protocol error: ${error.message}`)
      ends = true
    }
    const room = answers === '' || socket.write(answers, 'latin1')
    socket.commit(this.session.state, { input: socket.inputOffset - this.#reader.waiting })
    if (ends) dismiss(socket)
    return room && !ends
  }

  #deliver(message: string): void {
    const socket = this.#socket
    if (socket.destroyed || !socket.writable) return
    if (socket.writableLength > MAX_BEHIND) {
      socket.destroy()
      return
    }
    try {
      socket.write(message, 'latin1')
      socket.commit(this.session.state, { input: socket.inputOffset - this.#reader.waiting })
    } catch (error) {
      // It is nothing to who speaks that another's connection has moved.
      if (codeOf(error) !== 'ERR_SOCKET_CLOSED') throw error
    }
  }
}
