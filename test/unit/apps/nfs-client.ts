/** A client of the file server without a network: a socket in memory, calls put together by hand, and a store that can crash. */
import { EventEmitter } from 'node:events'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import type { Test } from 'tap'
import { createNfsServer } from '../../../apps/nfs/server.js'
import { XdrReader, XdrWriter } from '../../../apps/nfs/xdr.js'
import { MemoryCheckpointStorage, MemoryCheckpointStore } from '../../../cluster/memory-store.js'
import type { Socket } from '../../../stack/socket/net.js'

export const NFS = 100003
export const MOUNT = 100005

type Put = (out: XdrWriter) => unknown

/** A connection's server side: what the server writes is kept, and `data` is what a client sends. */
export class MemorySocket extends EventEmitter {
  readonly resumed = null
  remoteAddress = '10.0.0.9'
  destroyed = false
  writable = true
  paused = false
  /** As long as it is set the client takes nothing. */
  writableNeedDrain = false
  inputOffset = 0
  committed = 0
  ended = false
  out: Buffer[] = []

  setNoDelay(): void {}
  setTimeout(): void {}
  write(bytes: Uint8Array): boolean {
    this.out.push(Buffer.from(bytes))
    return !this.writableNeedDrain
  }
  commit(_state: unknown, { input }: { input: number }): void {
    this.committed = input
  }
  pause(): void {
    this.paused = true
  }
  resume(): void {
    this.paused = false
  }
  end(): void {
    this.ended = true
    this.writable = false
  }
  destroy(): void {
    this.destroyed = true
    this.emit('close')
  }

  send(bytes: Buffer): void {
    this.inputOffset += bytes.length
    this.emit('data', bytes)
  }

  /** The replies so far, behind their marks. */
  replies(): Buffer[] {
    const bytes = Buffer.concat(this.out)
    this.out = []
    const found: Buffer[] = []
    for (let at = 0; at < bytes.length; ) {
      const length = bytes.readUInt32BE(at) & 0x7fff_ffff
      found.push(bytes.subarray(at + 4, at + 4 + length))
      at += 4 + length
    }
    return found
  }
}

/** The record of a call. */
export function record(
  xid: number,
  program: number,
  version: number,
  procedure: number,
  put: Put = () => {},
): Buffer {
  const out = new XdrWriter()
  out.u32(0).u32(xid).u32(0).u32(2).u32(program).u32(version).u32(procedure)
  out.u32(1).opaque(new XdrWriter().u32(0).text('client').u32(0).u32(0).u32(0).bytes).u32(0).u32(0)
  put(out)
  out.patch(0, 0x8000_0000 + out.length - 4)
  return Buffer.from(out.bytes)
}

/** A folder that is served, and what the nodes of its cluster share. */
export class World {
  readonly folder = fs.mkdtempSync(join(tmpdir(), 'understudy-nfs-'))
  readonly root = join(this.folder, 'root')
  readonly storage = new MemoryCheckpointStorage()
  readonly errors: Error[] = []
  now = Date.now()
  /** The node dies when it has carried the next request out, before the store has its answer. */
  crashes = false

  constructor(t: Test) {
    fs.mkdirSync(this.root)
    t.teardown(() => fs.rmSync(this.folder, { recursive: true, force: true }))
  }

  path(name: string): string {
    return join(this.root, name)
  }

  /** Another node. */
  serve(): (socket: MemorySocket) => void {
    const inner = new MemoryCheckpointStore(this.storage)
    const store = {
      open: ((name: string) => inner.open(name)) as never,
      transaction: <T>(body: () => T): T =>
        inner.transaction(() => {
          const result = body()
          if (this.crashes && typeof result === 'boolean') throw new Error('the node has died')
          return result
        }),
    }
    const onError = (error: Error) => void this.errors.push(error)
    const serve = createNfsServer({ root: this.root, store, now: () => this.now, onError })
    return (socket) => serve(socket as unknown as Socket)
  }

  client(): Client {
    return new Client(this.serve())
  }
}

/** A client with one connection. */
export class Client {
  socket = new MemorySocket()
  xid = 1000
  /** Everything that was asked. */
  readonly asked: Buffer[] = []
  readonly #serve: (socket: MemorySocket) => void

  constructor(serve: (socket: MemorySocket) => void) {
    this.#serve = serve
    serve(this.socket)
  }

  /** Connects again, to the same node. */
  reconnect(): void {
    this.socket = new MemorySocket()
    this.#serve(this.socket)
  }

  /** The reply to `bytes`. */
  ask(bytes: Buffer): Buffer {
    this.asked.push(bytes)
    this.socket.send(bytes)
    const [reply] = this.socket.replies()
    if (reply === undefined) throw new Error('no reply')
    return reply
  }

  /** The results of a call that waits for the disk. */
  async callLater(program: number, version: number, procedure: number, put?: Put) {
    this.socket.send(record(this.xid++, program, version, procedure, put))
    for (;;) {
      const [reply] = this.socket.replies()
      if (reply !== undefined) return results(reply)
      await setImmediate()
    }
  }

  /** The results of a call, behind the reply's header. Throws when it was not accepted. */
  call(program: number, version: number, procedure: number, put?: Put): XdrReader {
    return results(this.ask(record(this.xid++, program, version, procedure, put)))
  }

  call3(procedure: number, put?: Put): XdrReader {
    return this.call(NFS, 3, procedure, put)
  }

  /** The root's handle, by MOUNT. */
  mount(path = '/'): Buffer {
    const reply = this.call(MOUNT, 3, 1, (out) => out.text(path))
    const status = reply.u32()
    if (status !== 0) throw new Error(`mount: ${status}`)
    return reply.opaque(64)
  }

  /** The handle of an entry, or the status. */
  lookup(folder: Buffer, name: string): Buffer | number {
    const reply = this.call3(3, (out) => out.opaque(folder).text(name))
    const status = reply.u32()
    return status === 0 ? reply.opaque(64) : status
  }

  /** CREATE; `how` 0: unchecked, 1: guarded, or a verifier. Returns the handle or the status. */
  create(folder: Buffer, name: string, how: 0 | 1 | Buffer = 1): Buffer | number {
    return made(this.call3(8, createArguments(folder, name, how)))
  }

  compound(...operations: Put[]): { status: number; results: XdrReader } {
    return compoundResult(this.call(NFS, 4, 1, compoundArguments(operations)))
  }

  /** A COMPOUND that waits for the disk. */
  async compoundLater(...operations: Put[]): Promise<{ status: number; results: XdrReader }> {
    return compoundResult(await this.callLater(NFS, 4, 1, compoundArguments(operations)))
  }
}

function compoundArguments(operations: readonly Put[]): Put {
  return (out) => {
    out.text('tag').u32(0).u32(operations.length)
    for (const put of operations) put(out)
  }
}

function compoundResult(reply: XdrReader): { status: number; results: XdrReader } {
  const status = reply.u32()
  reply.text(100)
  reply.u32()
  return { status, results: reply }
}

export function createArguments(folder: Buffer, name: string, how: 0 | 1 | Buffer): Put {
  return (out) => {
    out.opaque(folder).text(name)
    if (typeof how === 'number') putAttributes(out.u32(how), 0o640)
    else out.u32(2).fixed(how)
  }
}

/** sattr3. */
export function putAttributes(out: XdrWriter, mode: number | null = null, size?: bigint): void {
  if (mode === null) out.bool(false)
  else out.bool(true).u32(mode)
  out.bool(false).bool(false)
  if (size === undefined) out.bool(false)
  else out.bool(true).u64(size)
  out.u32(0).u32(0)
}

/** The handle that a procedure made, or its status. */
export function made(reply: XdrReader): Buffer | number {
  const status = reply.u32()
  if (status !== 0) return status
  reply.bool()
  return reply.opaque(64)
}

/** Behind the header of a reply that was accepted and carried out. */
export function results(reply: Buffer): XdrReader {
  const reader = new XdrReader(reply)
  reader.u32()
  const [type, accepted, , , status] = Array.from({ length: 5 }, () => reader.u32())
  if (type !== 1 || accepted !== 0 || status !== 0) throw new Error(`refused: ${status}`)
  return reader
}

/** Passes over a post_op_attr and returns the size in it, or null. */
export function attributes(reader: XdrReader): { type: number; mode: number; size: bigint } | null {
  return reader.bool() ? fattr(reader) : null
}

export function fattr(reader: XdrReader): { type: number; mode: number; size: bigint } {
  const type = reader.u32()
  const mode = reader.u32()
  reader.fixed(12)
  const size = reader.u64()
  reader.fixed(84 - 28)
  return { type, mode, size }
}
