/**
 * One client of the chat, on a WebSocket of `ws`. Its checkpoint is taken behind whole messages: input up to the last one that was passed
 * on, output with all lines that it was told.
 */
import type { WebSocket } from 'ws'
import type { Socket } from '../../stack/socket/net.js'
import type { FrameTracker } from './frame-tracker.js'
import type { Line } from './room.js'

/** Octets that may wait for a member who does not read. */
const MAX_BEHIND = 1024 * 1024

/** What a checkpoint holds. */
export interface Seat {
  readonly room: string
  readonly name: string
}

export class Member {
  readonly seat: Seat
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #frames: FrameTracker
  #input: number

  /** `input`: the offset of the first frame that is not passed on. */
  constructor(ws: WebSocket, socket: Socket, seat: Seat, frames: FrameTracker, input: number) {
    this.#ws = ws
    this.#socket = socket
    this.seat = seat
    this.#frames = frames
    this.#input = input
  }

  /** The oldest message, or control frame, is done with: it need not come again. */
  consumed(kind: 'message' | 'control'): void {
    this.#input = this.#frames.take(kind) ?? this.#input
  }

  tell(line: Line): void {
    if (this.#socket.destroyed || this.#ws.readyState !== this.#ws.OPEN) return
    if (this.#socket.writableLength > MAX_BEHIND) {
      this.#ws.terminate()
      return
    }
    this.#ws.send(JSON.stringify(line))
    this.commit()
  }

  commit(): void {
    if (!this.#socket.destroyed) this.#socket.commit(this.seat, { input: this.#input })
  }
}
