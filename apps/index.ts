/**
 * The applications that a node can run, by name.
 */
import { statSync } from 'node:fs'
import type { AppConfig, NodeRuntime } from '../cluster/io/index.js'
import { type Socket, StackError } from '../stack/index.js'
import { echo } from './echo/server.js'
import { createFileServer } from './files/server.js'
import { createKvServer, type DataStore } from './kv/server.js'
import { startProxy } from './proxy/server.js'
import { sqlServerFor } from './sql/server.js'

/**
 * Starts the application of a configuration on a node and resolves when it listens. Throws ERR_UNKNOWN_APP, ERR_CONFIG, EADDRINUSE,
 * and what `startProxy` throws. `onError` hears what goes wrong in a connection later.
 */
export async function startApp(
  app: AppConfig,
  runtime: NodeRuntime,
  onError: (error: Error) => void,
): Promise<void> {
  if (app.name === 'proxy') {
    await startProxy(app, runtime, (report) => {
      if (report.event === 'server-down')
        onError(new Error(`${app.to} cannot be reached (${report.code})`))
      else onError(new Error(`${app.to} can be reached again`))
    }).catch((error: Error) => {
      throw refused(app, error)
    })
    return
  }
  const server = runtime.net.createServer(
    { allowHalfOpen: true },
    app.name === 'sql'
      ? sqlServerFor(app, runtime, onError)
      : serverOf(app, onError, runtime.store),
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: Error) => reject(refused(app, error)))
    server.listen(app.port, resolve)
  })
}

function serverOf(
  app: AppConfig,
  onError: (error: Error) => void,
  store: DataStore,
): (socket: Socket) => void {
  switch (app.name) {
    case 'echo':
      return echo
    case 'http': {
      const server = createFileServer({ root: rootOf(app), onError })
      return (socket) => {
        server.emit('connection', socket)
      }
    }
    case 'kv':
      return createKvServer(store)
    default:
      throw new StackError(
        'ERR_UNKNOWN_APP',
        `app.name: '${app.name}' is unknown; there are http, echo, kv, sql and proxy`,
      )
  }
}

function rootOf({ root }: AppConfig): string {
  if (root === undefined) {
    throw new StackError('ERR_CONFIG', 'app.root: the http application needs the folder to serve')
  }
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory() === true) return root
  throw new StackError(
    'ERR_CONFIG',
    `app.root: there is no folder ${root}: make it, or name another`,
  )
}

function refused(app: AppConfig, error: Error): Error {
  if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') return error
  return new StackError(
    'EADDRINUSE',
    `app.port: port ${app.port} has a server on this node already: choose another for ${app.name}`,
    { cause: error },
  )
}
