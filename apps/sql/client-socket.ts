/** ClientSocket: a client's connection as messages in, octets out, and checkpoints. */
import { type Socket, StackError } from '../../stack/index.js'
import { dismiss, limitSilence, SILENCE_MS } from '../patience.js'
import { HALF_MESSAGE } from './failures.js'
import type { SessionMemory } from './memory.js'
import { errorResponse, type Message, MessageReader, type TransactionStatus } from './wire.js'

/** Octets that wait here while a unit is carried out. */
const MAX_AHEAD = 256 * 1024
/** What a client may send once it has begun. */
const KINDS = 'QPBDECSHXFdcfp'

/** Where checkpoints lie. */
export interface Store {
  transaction<T>(body: () => T): T
}

/** What a client's checkpoint holds, behind its startup. */
export interface ClientState {
  /** Names the client in marks. */
  readonly id: string
  /** What it cancels with. */
  readonly process: number
  readonly key: number
  /** Number of the next unit, or of the one under way. */
  readonly unit: number
  /** The unit has begun. */
  readonly begun: boolean
  readonly status: TransactionStatus
  /** A part of the unit's answer has been given, which cannot be given again. */
  readonly partial: boolean
  /** The unit leaves no mark. */
  readonly unmarked: boolean
  readonly memory: SessionMemory
}

export class ClientSocket {
  readonly socket: Socket
  readonly #store: Store
  readonly #reader: MessageReader
  #wake: (() => void) | null = null
  #ended = false
  #dismissed = false

  /** `silenceMs`: how long the client may be silent in the middle of a message. */
  constructor(socket: Socket, store: Store, silenceMs: number) {
    this.socket = socket
    this.#store = store
    this.#reader = new MessageReader(this.resumed === null, KINDS)
    socket.setNoDelay()
    socket.on('data', (chunk: Buffer) => {
      this.#reader.push(chunk)
      if (this.#wake === null && this.#reader.waiting > MAX_AHEAD) socket.pause()
      this.#stir()
    })
    limitSilence(
      socket,
      silenceMs,
      () => this.#wake !== null && this.#reader.waiting > 0,
      () => this.end(errorResponse(HALF_MESSAGE)),
    )
    for (const event of ['end', 'close'] as const) {
      socket.on(event, () => {
        this.#ended = true
        this.#stir()
      })
    }
    socket.on('error', () => socket.destroy())
  }

  /** What the node before us knew; null when the client is to begin, or to begin again. */
  get resumed(): ClientState | null {
    const { resumed } = this.socket as { readonly resumed: { readonly state: unknown } | null }
    return (resumed?.state ?? null) as ClientState | null
  }

  /** Octets of input that belong to messages which were handed out. */
  get consumed(): number {
    return this.socket.inputOffset - this.#reader.waiting
  }

  get gone(): boolean {
    return this.socket.destroyed || !this.socket.writable
  }

  /** The next message, or null at the end of the client's input. Throws SqlProtocolError. */
  async next(): Promise<Message | null> {
    for (;;) {
      const message = this.#dismissed ? null : this.#reader.next()
      if (message !== null) return message
      if (this.#ended || this.gone) return null
      this.socket.resume()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  expectFirst(): void {
    this.#reader.expectFirst()
  }

  /** Writes; calls `taken` when there is room for more. */
  write(octets: Uint8Array, taken?: () => void): void {
    const { socket } = this
    const room = this.gone || octets.length === 0 || socket.write(octets)
    if (taken === undefined) return
    if (room) {
      taken()
      return
    }
    this.#whenRoom(taken)
  }

  /** Resolves when what was written has room for more, or the client is gone. */
  drained(): Promise<void> {
    const { socket } = this
    if (this.gone || !socket.writableNeedDrain) return Promise.resolve()
    return new Promise((resolve) => this.#whenRoom(resolve))
  }

  // Or when the client is gone.
  #whenRoom(then: () => void): void {
    const { socket } = this
    const done = (): void => {
      socket.off('drain', done)
      socket.off('close', done)
      then()
    }
    socket.on('drain', done)
    socket.on('close', done)
  }

  /** Stores how far the client has come: `input` octets are consumed. `now`: before this returns. */
  commit(state: ClientState, input: number, now = false): void {
    if (this.gone) return
    const put = (): void => this.socket.commit(state, { input })
    try {
      if (now) this.#store.transaction(put)
      else put()
    } catch (error) {
      // Another node goes on with it.
      if (!(error instanceof StackError)) throw error
      this.socket.destroy()
    }
  }

  /** Ends the connection, and nothing more is read of it. Without `octets`, the failure it ends with, what was said before has time to arrive. */
  end(octets?: Uint8Array): void {
    if (this.gone) return
    this.#dismissed = true
    if (octets === undefined) dismiss(this.socket, '', SILENCE_MS)
    else dismiss(this.socket, octets)
    this.#stir()
  }

  #stir(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }
}
