/**
 * WsChannel: one WebSocket to a peer, from the first octet of its TCP connection until its end. It proves both sides and
 * then carries messages. It ends once, with one reason, at the first sign: the end of the TCP connection counts at once,
 * without waiting for the closing handshake of WebSocket (RFC 6455 §7).
 */
import type { Socket } from 'node:net'
import { type RawData, WebSocket } from 'ws'
import { newNonce, parseHandshake, proofOf, sameProof, type Transcript } from './ws-handshake.js'

/** Why a channel ended. */
export type DownReason =
  | 'eof'
  | 'error'
  | 'slow'
  | 'replaced'
  | 'removed'
  | 'timeout'
  | 'malformed'
  | 'bad-proof'
  | 'foreign-cluster'
  | 'wrong-direction'
  | 'closed'

/** Codes of the closing frame, for who watches the wire. */
const CLOSE_CODES: Readonly<Record<DownReason, number>> = {
  closed: 1000,
  eof: 1001,
  error: 1001,
  'bad-proof': 4001,
  'foreign-cluster': 4002,
  'wrong-direction': 4003,
  timeout: 4004,
  malformed: 4005,
  replaced: 4006,
  removed: 4007,
  slow: 4008,
}

/** Octets that may wait for a peer that reads too slowly. */
export const MAX_BUFFERED = 4 * 1024 * 1024

/** A channel that is not proven by then ends. */
export const HANDSHAKE_MS = 2000

const LINGER_MS = 200

export interface ChannelParts {
  readonly socket: WebSocket
  readonly id: number
  readonly cluster: string
  readonly key: Uint8Array
  /** The peer's id on the side that dials; -1 on the other, until its HELLO. */
  readonly peer: number
  onProven(channel: WsChannel): void
  onEnd(channel: WsChannel, reason: DownReason): void
  onMessage(channel: WsChannel, bytes: Uint8Array): void
}

export class WsChannel {
  peer: number
  /** Both sides have proven that they hold the key. */
  proven = false
  ended = false
  readonly #parts: ChannelParts
  readonly #dials: boolean
  readonly #nonce = newNonce()
  readonly #timer: NodeJS.Timeout
  #transcript: Transcript | null = null

  constructor(parts: ChannelParts) {
    this.#parts = parts
    this.peer = parts.peer
    this.#dials = parts.peer >= 0
    this.#timer = setTimeout(() => this.end('timeout'), HANDSHAKE_MS)
    const { socket } = parts
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary))
    socket.on('error', () => this.end('error'))
    socket.on('close', () => this.end('eof'))
    if (this.#dials) {
      socket.on('upgrade', (response) => this.watch(response.socket))
      socket.on('open', () => this.#hello())
    }
  }

  /** Ends the channel with the TCP connection under it. */
  watch(connection: Socket): void {
    connection.setNoDelay(true)
    connection.once('end', () => this.end('eof'))
    connection.once('close', () => this.end('eof'))
    connection.once('error', () => this.end('error'))
  }

  /** Queues a message, which is copied or sent before this returns; false when the channel is down, or now ends as slow. */
  send(bytes: Uint8Array): boolean {
    const { socket } = this.#parts
    if (this.ended || !this.proven || socket.readyState !== WebSocket.OPEN) return false
    if (socket.bufferedAmount + bytes.length > MAX_BUFFERED) {
      this.end('slow')
      return false
    }
    socket.send(Buffer.from(bytes), { binary: true })
    return true
  }

  /** Ends the channel; the first reason counts. */
  end(reason: DownReason): void {
    if (this.ended) return
    this.ended = true
    clearTimeout(this.#timer)
    const { socket } = this.#parts
    const dead = reason === 'eof' || reason === 'error' || reason === 'slow' || reason === 'closed'
    if (dead || socket.readyState !== WebSocket.OPEN) socket.terminate()
    else {
      socket.close(CLOSE_CODES[reason], reason)
      setTimeout(() => socket.terminate(), LINGER_MS).unref()
    }
    this.#parts.onEnd(this, reason)
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.ended) return
    const bytes = data as Buffer
    if (!this.proven) {
      if (isBinary) this.end('malformed')
      else this.#shake(bytes)
    } else if (isBinary) this.#parts.onMessage(this, bytes)
    else this.end('malformed')
  }

  #hello(): void {
    const { id, cluster } = this.#parts
    this.#tell({ type: 'hello', version: 1, cluster, from: id, to: this.peer, nonce: this.#nonce })
  }

  #shake(bytes: Uint8Array): void {
    const message = parseHandshake(bytes)
    if (message?.type === 'hello') this.#handleHello(message)
    else if (message?.type === 'answer') this.#handleAnswer(message)
    else if (message?.type === 'proof') this.#handleProof(message)
    else if (message?.type === 'ready' && this.#dials && this.#transcript !== null) this.#prove()
    else this.end('malformed')
  }

  #handleHello(said: { cluster: string; from: number; to: number; nonce: string }): void {
    const { id, cluster, key } = this.#parts
    if (this.#dials || this.#transcript !== null) {
      this.end('malformed')
      return
    }
    if (said.cluster !== cluster) {
      this.end('foreign-cluster')
      return
    }
    if (said.to !== id || said.from < 0 || said.from >= id) {
      this.end('wrong-direction')
      return
    }
    this.peer = said.from
    this.#transcript = {
      cluster,
      dialler: said.from,
      listener: id,
      diallerNonce: said.nonce,
      listenerNonce: this.#nonce,
    }
    const proof = proofOf(key, 'listener', this.#transcript)
    this.#tell({ type: 'answer', nonce: this.#nonce, proof })
  }

  #handleAnswer(said: { nonce: string; proof: string }): void {
    const { id, cluster, key } = this.#parts
    if (!this.#dials || this.#transcript !== null) {
      this.end('malformed')
      return
    }
    const transcript = {
      cluster,
      dialler: id,
      listener: this.peer,
      diallerNonce: this.#nonce,
      listenerNonce: said.nonce,
    }
    if (!sameProof(proofOf(key, 'listener', transcript), said.proof)) {
      this.end('bad-proof')
      return
    }
    this.#transcript = transcript
    this.#tell({ type: 'proof', proof: proofOf(key, 'dialler', transcript) })
  }

  #handleProof(said: { proof: string }): void {
    if (this.#dials || this.#transcript === null) {
      this.end('malformed')
      return
    }
    const expected = proofOf(this.#parts.key, 'dialler', this.#transcript)
    if (!sameProof(expected, said.proof)) {
      this.end('bad-proof')
      return
    }
    this.#tell({ type: 'ready' })
    this.#prove()
  }

  #prove(): void {
    this.proven = true
    clearTimeout(this.#timer)
    this.#parts.onProven(this)
  }

  #tell(message: object): void {
    this.#parts.socket.send(JSON.stringify(message))
  }
}
