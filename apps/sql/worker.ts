/**
 * The thread that has the database: PGlite blocks whoever runs it, and the node must not stand still, or its peers take it for dead.
 * Loads and compiles everything at once, so that opening is short when the node becomes the owner.
 */
import * as fs from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { Backend, type BackendPort } from './backend.js'
import {
  type FromThread,
  Shared,
  TEMPLATE,
  type ToThread,
  type UnitRequest,
  WINDOW,
} from './jobs.js'
import { newMemory } from './memory.js'
import { encodeQuery } from './wire.js'

/** The data directory in the application's folder. */
const DATA = 'data'
/** Where a new one is made: a half-made one must not be taken for one. */
const FRESH = 'fresh'

/** Node has WebAssembly, and its types leave it out. */
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: { compile(octets: Uint8Array): Promise<object> }
}

interface Compiled {
  readonly pgliteWasmModule: object
  readonly initdbWasmModule: object
  readonly fsBundle: Blob
}

async function compile(): Promise<Compiled> {
  const folder = dirname(fileURLToPath(import.meta.resolve('@electric-sql/pglite')))
  const [pglite, initdb, bundle] = await Promise.all(
    ['pglite.wasm', 'initdb.wasm', 'pglite.data'].map((name) => readFile(join(folder, name))),
  )
  if (pglite === undefined || initdb === undefined || bundle === undefined) {
    throw new Error('PGlite is not complete')
  }
  const [pgliteWasmModule, initdbWasmModule] = await Promise.all([
    WebAssembly.compile(new Uint8Array(pglite)),
    WebAssembly.compile(new Uint8Array(initdb)),
  ])
  return { pgliteWasmModule, initdbWasmModule, fsBundle: new Blob([new Uint8Array(bundle)]) }
}

/** Makes the data directory in `folder`, unless it is there. Nobody else may have it open. */
async function makeData(folder: string, compiled: Compiled): Promise<string> {
  const data = join(folder, DATA)
  if (fs.existsSync(join(data, 'PG_VERSION'))) return data
  const fresh = join(folder, FRESH)
  fs.rmSync(fresh, { recursive: true, force: true })
  const made = await PGlite.create({ dataDir: fresh, ...compiled })
  const template = await made.dumpDataDir('gzip')
  await made.close()
  const half = `${join(folder, TEMPLATE)}.half`
  fs.writeFileSync(half, new Uint8Array(await template.arrayBuffer()))
  fs.renameSync(half, join(folder, TEMPLATE))
  fs.renameSync(fresh, data)
  return data
}

/**
 * Opens a fresh database in memory and closes it again: most of the time that the first opening takes goes into code that is compiled
 * when it is first run.
 */
async function warmUp(folder: string, compiled: Compiled): Promise<null> {
  const template = new Blob([new Uint8Array(await readFile(join(folder, TEMPLATE)))])
  const db = await PGlite.create({ loadDataDir: template, ...compiled })
  const backend = new Backend((messages, give) => {
    db.execProtocolRawStream(messages, { syncToFs: false, onRawData: give }).catch(() => {})
  })
  backend.prepare()
  const memory = newMemory({ user: 'postgres', database: 'postgres', settings: {} })
  backend.attach('warm', memory, null)
  const script = [
    'CREATE TABLE warm(i int)',
    ...Array(50).fill('INSERT INTO warm VALUES (1) RETURNING i'),
  ]
  for (const [unit, sql] of script.entries()) {
    const rest = { recover: unit === 1, lost: 'I', partial: false, instead: null } as const
    const request = {
      connection: 'warm',
      unit,
      form: 'simple',
      messages: encodeQuery(sql),
      ...rest,
    }
    backend.unit(request as UnitRequest, { give() {}, unmarked() {} })
  }
  await db.close()
  return null
}

/** Opens it. */
async function open(folder: string, compiled: Compiled): Promise<PGlite> {
  const data = await makeData(folder, compiled)
  return await PGlite.create({ dataDir: data, ...compiled })
}

class Thread {
  readonly #port: MessagePort
  readonly #shared: Int32Array
  readonly #compiled: Compiled
  #backend: Backend | null = null
  /** What the database has been asked and may have failed at. */
  #runs: Promise<void>[] = []

  constructor(port: MessagePort, shared: Int32Array, compiled: Compiled) {
    this.#port = port
    this.#shared = shared
    this.#compiled = compiled
  }

  async take(message: ToThread): Promise<void> {
    const { id } = message
    try {
      const result = await this.#carryOut(message)
      const runs = this.#runs
      this.#runs = []
      await Promise.all(runs)
      this.#post({ kind: 'done', id, result })
    } catch (error) {
      this.#post({ kind: 'failed', id, message: String((error as Error)?.message ?? error) })
    }
  }

  async #carryOut(message: ToThread): Promise<unknown> {
    if (message.kind === 'prepare') return await makeData(message.folder, this.#compiled)
    // Nothing is lost when it fails.
    if (message.kind === 'warm')
      return await warmUp(message.folder, this.#compiled).catch(() => null)
    if (message.kind === 'open') {
      const db = await open(message.folder, this.#compiled)
      const backend = new Backend((messages, give) => {
        const run = db.execProtocolRawStream(messages, { syncToFs: false, onRawData: give })
        run.catch(() => {})
        this.#runs.push(run)
      })
      backend.prepare()
      this.#backend = backend
      return null
    }
    const backend = this.#backend
    if (backend === null) throw new Error('the database is not open')
    switch (message.kind) {
      case 'attach':
        return backend.attach(message.connection, message.memory, message.database)
      case 'detach':
        return backend.detach(message.connection)
      case 'unit':
        return backend.unit(message.request, this.#portFor(message.id))
    }
  }

  #portFor(id: number): BackendPort {
    return {
      give: (octets, progress) => this.#give(id, octets, progress),
      unmarked: () => {
        const stored = Atomics.load(this.#shared, Shared.STORED)
        this.#post({ kind: 'unmarked', id })
        Atomics.wait(this.#shared, Shared.STORED, stored)
      },
    }
  }

  // The database stands still while the client does not take what it has said.
  #give(id: number, octets: Uint8Array, progress: boolean): void {
    const shared = this.#shared
    if (Atomics.load(shared, Shared.UNWANTED) === id) return
    const own = new Uint8Array(octets)
    Atomics.add(shared, Shared.BEHIND, own.length)
    this.#port.postMessage({ kind: 'chunk', id, octets: own, progress } satisfies FromThread, [
      own.buffer,
    ])
    for (;;) {
      const behind = Atomics.load(shared, Shared.BEHIND)
      if (behind <= WINDOW || Atomics.load(shared, Shared.UNWANTED) === id) return
      Atomics.wait(shared, Shared.BEHIND, behind, 1000)
    }
  }

  #post(message: FromThread): void {
    this.#port.postMessage(message)
  }
}

if (parentPort !== null) {
  const port = parentPort
  const thread = new Thread(port, new Int32Array(workerData as SharedArrayBuffer), await compile())
  let turn = Promise.resolve()
  port.on('message', (message: ToThread) => {
    turn = turn.then(() => thread.take(message))
  })
  port.postMessage({ kind: 'ready' } satisfies FromThread)
}
