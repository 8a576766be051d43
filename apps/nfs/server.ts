/**
 * A server of NFS versions 3 and 4.0 over a folder (A6). Each batch of requests is one transaction of the checkpoint store, as in
 * the key-value store: what it changed there, the answers and how far the connection has come. Files themselves lie outside of
 * it. Reading and writing at an offset may be done twice; what may not has its intent stored before, and its answer afterwards
 * (journal.ts, duplicates.ts).
 */
import type { Socket } from '../../stack/socket/net.js'
import type { DataStore } from '../data-store.js'
import { dismiss, isForOwner, limitSilence, SILENCE_MS } from '../patience.js'
import { Duplicates } from './duplicates.js'
import type { HandleKey } from './handles.js'
import { Handles } from './handles.js'
import { Journal, NeedsIntent } from './journal.js'
import { Listings } from './listing.js'
import { MOUNT3 } from './mount.js'
import { CHANGES3, COMMIT3, NFS3 } from './nfs3.js'
import { NFS4 } from './nfs4.js'
import type { Nfs4Context } from './nfs4-context.js'
import { Nfs4State } from './nfs4-state.js'
import { OpenFiles } from './open-files.js'
import { RecordError, RecordReader } from './record.js'
import { answerCall, type Call, type Programs, readCall } from './rpc.js'
import { NeedsSync, syncByThread } from './sync.js'
import { Tree } from './tree.js'
import { writeVerifier } from './verifier.js'

/** Clients at once. */
const MAX_CLIENTS = 1024
/** Octets of answers that are written at once. */
const BATCH = 256 * 1024
/** Changes of one request: each is tried again when its intent is stored. */
const MAX_CHANGES = 64

const NFS_PROGRAM = 100003
const MOUNT_PROGRAM = 100005
const PROGRAMS: Programs<Nfs4Context> = {
  [NFS_PROGRAM]: { 3: NFS3, 4: NFS4 },
  [MOUNT_PROGRAM]: { 3: MOUNT3 },
}

export interface NfsServerOptions {
  /** The folder that is served. */
  readonly root: string
  readonly store: DataStore
  /** Milliseconds since 1970. */
  readonly now?: () => number
  /** How long a client may be silent, in milliseconds, that owes the rest of a call or does not take its answers. */
  readonly silenceMs?: number
  /** Called for what went wrong and is no fault of the client's. */
  readonly onError?: (error: Error) => void
}

/** What serves a connection. */
export function createNfsServer(options: NfsServerOptions): (socket: Socket) => void {
  const service = new Service(options)
  const { silenceMs = SILENCE_MS } = options
  return (socket) => {
    socket.on('error', () => socket.destroy())
    if (service.clients >= MAX_CLIENTS) {
      socket.destroy()
      return
    }
    const client = new Client(socket, service)
    service.clients++
    socket.setNoDelay()
    socket.on('close', () => service.clients--)
    socket.on('data', (chunk: Buffer) => client.take(chunk))
    socket.on('drain', () => client.work())
    socket.on('end', () => client.end())
    limitSilence(socket, silenceMs, () => client.owes)
  }
}

/** What all connections share. */
class Service {
  clients = 0
  readonly store: DataStore
  readonly duplicates: Duplicates
  readonly onError: (error: Error) => void
  readonly #shared: Omit<Nfs4Context, 'journal' | 'settle'>

  constructor({ root, store, now = Date.now, onError = () => {} }: NfsServerOptions) {
    this.store = store
    this.onError = onError
    const files = new OpenFiles(root, (device) => new Handles(store, device), now)
    this.duplicates = new Duplicates(store, now)
    this.#shared = {
      tree: new Tree(files),
      listings: new Listings(files),
      writeVerifier: writeVerifier(store),
      state: new Nfs4State(store, now),
    }
  }

  answer(call: Call, journal: Journal, settle: (key: HandleKey) => void): Buffer {
    return answerCall(call, PROGRAMS, { ...this.#shared, journal, settle })
  }

  /** Syncs the file by a thread, and calls `done`. Throws as `OpenFiles.file`. */
  sync(key: HandleKey, done: () => void): void {
    syncByThread(this.#shared.tree.files.file(key, false), done)
  }
}

/** Whether a request may change what must not be changed twice, and so must be known when it comes again. */
function changes({ program, version, procedure }: Call): boolean {
  if (program !== NFS_PROGRAM) return false
  return version === 3 ? CHANGES3.has(procedure) : procedure !== 0
}

/** Whether a request may have to be begun again: it is a transaction by itself. */
function isAlone(call: Call): boolean {
  const { program, version, procedure } = call
  return changes(call) || (program === NFS_PROGRAM && version === 3 && procedure === COMMIT3)
}

class Client {
  readonly #socket: Socket
  readonly #service: Service
  readonly #address: string
  readonly #reader = new RecordReader()
  // The files that have been synced for the first request.
  readonly #synced = new Set<HandleKey>()
  // The first request waits: for the disk, or for a term in which this node may answer.
  #waits = false
  // The client sends no more.
  #ending = false

  constructor(socket: Socket, service: Service) {
    this.#socket = socket
    this.#service = service
    this.#address = socket.remoteAddress ?? ''
  }

  /** The client has begun a call and not ended it, or does not take its answers. */
  get owes(): boolean {
    return !this.#waits && (this.#reader.waiting > 0 || this.#socket.writableNeedDrain)
  }

  take(chunk: Buffer): void {
    this.#reader.push(chunk)
    this.work()
  }

  /** The client sends no more: it is still answered. */
  end(): void {
    this.#ending = true
    this.work()
  }

  /** Carries out what has come, as long as the client takes the answers. */
  work(): void {
    const socket = this.#socket
    if (this.#waits) return
    try {
      let room = !socket.writableNeedDrain
      while (room && !socket.destroyed && socket.writable && this.#reader.peek() !== null) {
        room = this.#step()
      }
      // Who was told to go is heard, and not listened to.
      if (room || !socket.writable) socket.resume()
      else socket.pause()
      if (this.#ending && !this.#waits && this.#reader.peek() === null) socket.end()
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #fail(error: Error): void {
    if (isForOwner(error, this.#socket, () => this.#again())) {
      this.#waits = true
      return
    }
    if (!(error instanceof RecordError)) this.#service.onError(error)
    this.#socket.destroy()
  }

  // One transaction; true when the client takes more.
  #step(): boolean {
    const { store, duplicates } = this.#service
    for (let tried = 0; ; tried++) {
      try {
        return store.transaction(() => this.#batch())
      } catch (error) {
        if (error instanceof NeedsSync) return this.#wait(error.key)
        if (!(error instanceof NeedsIntent) || tried >= MAX_CHANGES) throw error
        const key = this.#keyOfFirst()
        store.transaction(() => duplicates.intend(key, error.intents))
      }
    }
  }

  // False: no request is carried out until the file is on the disk.
  #wait(key: HandleKey): boolean {
    this.#waits = true
    this.#service.sync(key, () => {
      this.#synced.add(key)
      this.#again()
    })
    return false
  }

  #again(): void {
    this.#waits = false
    this.work()
  }

  readonly #settle = (key: HandleKey): void => {
    if (!this.#synced.has(key)) throw new NeedsSync(key)
  }

  #keyOfFirst(): string {
    return Duplicates.keyOf(this.#address, this.#reader.peek() as Buffer)
  }

  #batch(): boolean {
    const socket = this.#socket
    const answers: Buffer[] = []
    let length = 0
    let ends = false
    while (length < BATCH && !ends) {
      const record = this.#reader.peek()
      if (record === null) break
      const call = readCall(record)
      const alone = call !== null && !Buffer.isBuffer(call) && isAlone(call)
      if (alone && answers.length > 0) break
      const answer = this.#answer(call)
      if (answer !== null) answers.push(answer)
      length += answer?.length ?? 0
      ends = answer === null
      this.#reader.drop()
      this.#synced.clear()
      if (alone) break
    }
    let room = true
    for (const answer of answers) room = socket.write(answer)
    socket.commit(null, { input: socket.inputOffset - this.#reader.waiting })
    if (ends) dismiss(socket)
    return room && !ends
  }

  // Null: what came is no call, and the connection ends.
  #answer(call: Call | Buffer | null): Buffer | null {
    if (call === null || Buffer.isBuffer(call)) return call
    const { duplicates } = this.#service
    if (!changes(call)) return this.#service.answer(call, new Journal([]), this.#settle)
    const key = this.#keyOfFirst()
    const known = duplicates.get(key)
    if (known.answer !== null) return known.answer
    const journal = new Journal(known.intents)
    const answer = this.#service.answer(call, journal, this.#settle)
    if (call.version === 3 || journal.changed) duplicates.answered(key, answer)
    return answer
  }
}
