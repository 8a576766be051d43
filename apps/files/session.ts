/**
 * One connection of the file server: its requests in order, and its checkpoints (A2). For each request they hold its head and how far it
 * has come, so that a peer hears the same request again, regenerates the same head of the answer, and goes on in mid-file.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from '../../stack/socket/net.js'
import { RequestClock } from '../http/request-clock.js'
import { type RequestPlace, RequestTracker } from '../http/request-tracker.js'

/** What a checkpoint holds: the request being answered, and how far. */
export interface Progress {
  /** The request's head as it came. */
  readonly head: string
  /** The Date field of the answer. */
  readonly date: string
  /** Of a download: the file's tag when the answer began. */
  readonly etag?: string
  /** Of an upload: octets of the body that are in the file. */
  readonly stored?: number
  /** Of an upload: where its body began in the input, and how long it is. */
  readonly bodyOffset?: number
  readonly bodyLength?: number
  /** Of an upload: whether there was such a file. */
  readonly replaces?: boolean
  /** Names the upload's part file. */
  readonly part?: string
  /** Where the answer ends in the output, once that is known: what is sent that far needs nobody any more. */
  readonly end?: number
}

interface Resumed {
  readonly input: number
  readonly output: number
  readonly sent: number
  readonly state: Progress | null
}

/** One connection's requests, in order. */
export class Session {
  readonly socket: Socket
  readonly tracker: RequestTracker
  /** How far the node before us had come; null when it is used up, or when there is nothing to resume. */
  progress: Progress | null = null
  /** Resolves when the answer before has been handed to the socket. */
  previous: Promise<void> = Promise.resolve()

  constructor(socket: Socket, server: Server) {
    this.socket = socket
    // As node:http does with connections that it accepts itself: head and body are two writes.
    socket.setNoDelay()
    const resumed = socket.resumed as Resumed | null
    const start = resumed?.input ?? 0
    if (resumed?.state == null || isAnswered(resumed)) {
      this.tracker = new RequestTracker(start)
      if (resumed?.state?.end !== undefined) socket.skip(resumed.state.end - resumed.output)
    } else {
      this.progress = resumed.state
      const head = Buffer.from(repeatedHead(resumed.state), 'latin1')
      this.tracker = new RequestTracker(start - head.length)
      socket.unshift(head)
    }
    const clock = new RequestClock(socket, this.tracker, server)
    socket.on('data', (chunk: Buffer) => {
      this.tracker.feed(chunk)
      clock.look()
    })
  }

  /** Octets of the output that the stack has, or the client: the node before us sent them. */
  get sent(): number {
    return (this.socket.resumed as Resumed | null)?.sent ?? 0
  }

  /** Says something short, the whole answer to the request at `place`. */
  say(
    place: RequestPlace | undefined,
    req: IncomingMessage,
    res: ServerResponse,
    status: number,
    body: string,
    type = 'text/plain; charset=utf-8',
  ): void {
    const bodiless = status === 304
    if (!bodiless) {
      res.setHeader('Content-Type', type)
      res.setHeader('Content-Length', Buffer.byteLength(body))
    }
    const date = String(res.getHeader('Date'))
    const start = this.socket.outputOffset
    res.writeHead(status)
    res.end(bodiless || req.method === 'HEAD' ? undefined : body)
    if (place === undefined) return
    if (req.complete || place.bodyLength === 0) {
      this.commitAnswered(place)
      return
    }
    // A body that nobody wants is heard to its end: what has not come must not count as consumed.
    this.#commit({ head: place.head, date }, place.bodyOffset, start)
    req.once('end', () => this.commitAnswered(place))
  }

  /** The whole answer to the request at `place` has been written: nobody needs to give it again. */
  commitAnswered({ head, end }: RequestPlace): void {
    if (end < 0) return
    const state: Progress = { head, date: '', end: this.socket.outputOffset }
    this.#commit(state, end, this.socket.outputOffset)
  }

  #commit(state: Progress, input: number, output: number): void {
    if (!this.socket.destroyed) this.socket.commit(state, { input, output })
  }
}

// The whole answer has been sent, or waits in the stack to be sent again.
function isAnswered({ state, sent }: Resumed): boolean {
  return state?.end !== undefined && sent >= state.end
}

// The head to hear again: of an upload, only the rest of the body is still to come.
function repeatedHead({ head, stored, bodyLength }: Progress): string {
  const again = head.replace(/^expect:.*\r\n/im, '')
  if (stored === undefined || bodyLength === undefined) return again
  return again.replace(/^content-length:.*$/im, `Content-Length: ${bodyLength - stored}`)
}
