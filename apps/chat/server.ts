/**
 * A chat in the browser (A8): WebSockets of `ws` on an unchanged node:http. A line is passed on in one transaction: the room's history,
 * what every member was told, and how far the speaker has been heard are in the store together, or not at all. So nobody misses a
 * line or hears it twice when the node dies, and no browser reconnects.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Socket } from '../../stack/socket/net.js'
import type { DataStore } from '../data-store.js'
import { replayed } from '../http/replay.js'
import { FrameTracker } from './frame-tracker.js'
import { Member, type Seat } from './member.js'
import { PAGE } from './page.js'
import { type Line, Room } from './room.js'

const MAX_LINE = 4096
const MAX_NAME = 32
const MAX_ROOMS = 1000
/** Close codes (RFC 6455 §7.4.1). */
const INVALID_DATA = 1007
const TRY_AGAIN_LATER = 1013

/** What serves a connection. `node` is shown beside each line. */
export function createChatServer(store: DataStore, node: number): (socket: Socket) => void {
  return new Chat(store, node).serve
}

class Chat {
  readonly #store: DataStore
  readonly #node: number
  readonly #rooms = new Map<string, Room>()
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_LINE, autoPong: false })
  readonly #first: (socket: Socket) => void

  constructor(store: DataStore, node: number) {
    this.#store = store
    this.#node = node
    this.#first = replayed(this.#pages())
  }

  readonly serve = (socket: Socket): void => {
    socket.setNoDelay()
    const resumed = socket.resumed as { input: number; state: Partial<Seat> | null } | null
    if (resumed?.state?.room === undefined) this.#first(socket)
    else this.#resume(socket, resumed.state as Seat, resumed.input)
  }

  #pages(): Server {
    const server = createServer((req, res) => {
      const [path] = (req.url ?? '').split('?', 1)
      if (path === '/' && req.method === 'GET') {
        res.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(PAGE)
      } else {
        res.writeHead(404, { 'Content-Type': 'text/plain' }).end('the chat is at /\n')
      }
    })
    server.on('upgrade', (req, stream, head) => {
      const socket = stream as unknown as Socket
      const seat = seatOf(req)
      if (seat === null) {
        socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        return
      }
      const input = socket.inputOffset - head.length
      const frames = this.#track(socket, input, head)
      this.#sockets.handleUpgrade(req, stream, head, (ws) => {
        this.#enter(ws, socket, seat, frames, input, true)
      })
    })
    return server
  }

  // Ahead of `ws`, so that the frames' ends are known before their messages are.
  #track(socket: Socket, input: number, head: Buffer): FrameTracker {
    const frames = new FrameTracker(input)
    frames.feed(head)
    socket.prependListener('data', (chunk: Buffer) => frames.feed(chunk))
    return frames
  }

  // The client was welcomed by another node: `ws` is to believe so, too, and its welcome goes nowhere.
  #resume(socket: Socket, seat: Seat, input: number): void {
    const frames = this.#track(socket, input, Buffer.alloc(0))
    const headers = {
      upgrade: 'websocket',
      'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
      'sec-websocket-version': '13',
    }
    const request = { method: 'GET', url: '/', headers } as unknown as IncomingMessage
    const { write } = socket
    socket.write = () => true
    this.#sockets.handleUpgrade(request, socket as never, Buffer.alloc(0), (ws) => {
      socket.write = write
      this.#enter(ws, socket, seat, frames, input, false)
    })
  }

  #enter(
    ws: WebSocket,
    socket: Socket,
    seat: Seat,
    frames: FrameTracker,
    input: number,
    isNew: boolean,
  ): void {
    const room = this.#room(seat.room)
    if (room === null || room.isFull) {
      ws.close(TRY_AGAIN_LATER, 'the room is full')
      return
    }
    const member = new Member(ws, socket, seat, frames, input)
    room.add(member)
    ws.on('error', () => socket.destroy())
    ws.on('close', () => this.#leave(member, room))
    ws.on('message', (data, isBinary) => this.#hear(ws, member, room, data, isBinary))
    ws.on('ping', (data) => {
      member.consumed('control')
      ws.pong(data)
      member.commit()
    })
    ws.on('pong', () => member.consumed('control'))
    if (!isNew) return
    this.#store.transaction(() => {
      for (const line of room.history) member.tell(line)
      member.commit()
    })
  }

  #hear(ws: WebSocket, member: Member, room: Room, data: unknown, isBinary: boolean): void {
    if (isBinary) {
      ws.close(INVALID_DATA, 'lines are text')
      return
    }
    this.#store.transaction(() => {
      member.consumed('message')
      room.say({ name: member.seat.name, text: String(data), node: this.#node })
      member.commit()
    })
  }

  #leave(member: Member, room: Room): void {
    room.remove(member)
    if (room.isEmpty) this.#rooms.delete(room.name)
  }

  #room(name: string): Room | null {
    let room = this.#rooms.get(name)
    if (room !== undefined) return room
    if (this.#rooms.size >= MAX_ROOMS) return null
    room = new Room(name, this.#store.open<Line[]>('chat'))
    this.#rooms.set(name, room)
    return room
  }
}

// `/chat?room=R&name=N`
function seatOf(req: IncomingMessage): Seat | null {
  const url = URL.parse(req.url ?? '/', 'http://chat')
  if (url?.pathname !== '/chat') return null
  const room = (url.searchParams.get('room') ?? 'lobby').slice(0, MAX_NAME)
  const name = (url.searchParams.get('name') ?? 'somebody').slice(0, MAX_NAME)
  return { room, name }
}
