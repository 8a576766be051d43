/**
 * A SQL database (A5): PostgreSQL, compiled to WebAssembly (PGlite), for psql and every other client of its protocol. Its data directory is
 * shared by the nodes, and open at the one that owns the address. What a client sees when that one is killed:
 *
 *   nothing under way                its session goes on: user, settings, prepared statements
 *   a query that only reads          is run again; what the client has of its answer is compared and not sent twice. An answer of
 *                                    more than 256 KiB must come out the same, or the connection is reset: it needs ORDER BY, and
 *                                    neither now() nor random()
 *   a statement that writes          is done once: it leaves a mark in its own transaction, by which the next owner knows. Its answer is
 *                                    in the mark up to 256 KiB; beyond, ERROR 08007 (done) or 40001 (undone) ends it
 *   COMMIT                           the same; a transaction that is not committed is answered with ERROR 40001
 *   an open transaction              is lost: the next statement is answered with ERROR 40001, and ROLLBACK ends it
 *   a connection that another node than the owner of the address goes on with (P20, P23): it has no data, and the client is told to
 *                                    connect again (57P01), unless that node comes to own the address within some seconds
 *   what cannot be in a transaction  (VACUUM, a procedure that commits): ERROR 08007, as nobody can tell
 *
 * Lost with the owner: temporary tables, cursors WITH HOLD, session advisory locks, sequences' cached values. All clients share one
 * session, one at a time: a transaction keeps the others waiting, and temporary tables are seen by all. LISTEN is refused. Data
 * survive the death of processes, not of the host: PGlite does not fsync.
 */
import * as fs from 'node:fs'
import type { AppConfig, NodeRuntime } from '../../cluster/io/index.js'
import { type Socket, StackError } from '../../stack/index.js'
import { type ClientLimits, Clients } from './client.js'
import { DataLock } from './data-lock.js'
import { Database } from './database.js'

/** How often the database looks whether this node owns the address. */
const LOOK_MS = 500

export interface SqlServer {
  /** Serves a connection. */
  readonly serve: (socket: Socket) => void
  readonly database: Database
}

/** A server of the database in `folder` for a node of the cluster that `cluster` names; `own` and `disown` of its database open and close it. */
export function createSqlServer(
  folder: string,
  cluster: string,
  store: Pick<NodeRuntime['store'], 'transaction'>,
  onError: (error: Error) => void,
  limits: Partial<ClientLimits> = {},
): SqlServer {
  const lock = new DataLock(folder, cluster)
  const database = new Database({
    folder,
    lock,
    onError,
    ...(limits.turnMs !== undefined && { turnMs: limits.turnMs }),
  })
  const clients = new Clients(database, store, onError, limits)
  return { serve: (socket) => clients.serve(socket), database }
}

/** The server for the application of a configuration: its database follows the ownership of the binding. Throws ERR_CONFIG. */
export function sqlServerFor(
  app: AppConfig,
  runtime: NodeRuntime,
  onError: (error: Error) => void,
): (socket: Socket) => void {
  const bindings = runtime.node.ownerships.filter(
    ({ binding }) => app.port >= binding.firstPort && app.port <= binding.lastPort,
  )
  const [ownership] = bindings
  if (ownership === undefined || bindings.length > 1) {
    throw new StackError(
      'ERR_CONFIG',
      `app.port: ${bindings.length} bindings have port ${app.port}, and the database can be open at one node only: let one binding have it`,
    )
  }
  if (app.root === undefined) {
    throw new StackError('ERR_CONFIG', 'app.root: the sql application needs a folder for its data')
  }
  fs.mkdirSync(app.root, { recursive: true, mode: 0o700 })
  const cluster = fs.realpathSync(runtime.config.sharedDir)
  const { serve, database } = createSqlServer(app.root, cluster, runtime.store, onError)
  follow(runtime, ownership, database)
  runtime.on('close', () => void database.close())
  return serve
}

/**
 * Lets the database follow `ownership`: at once when something is reported, and within LOOK_MS whatever is reported or not. A database that
 * did not hear would stay closed for ever at the owner, or be open beside it.
 */
export function follow(
  runtime: Pick<NodeRuntime, 'on'>,
  ownership: Pick<NodeRuntime['node']['ownerships'][number], 'state' | 'epoch'>,
  database: Pick<Database, 'own' | 'pause' | 'disown'>,
): void {
  const look = (): void => {
    const { state, epoch } = ownership
    if (state === 'owner') database.own(epoch)
    else if (state === 'standby') void database.disown()
    else database.pause()
  }
  const timer = setInterval(look, LOOK_MS).unref()
  runtime.on('report', look)
  runtime.on('close', () => clearInterval(timer))
  look()
}
