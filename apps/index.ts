/**
 * The applications that a node can run, by name.
 */
import { statSync } from 'node:fs'
import type { AppConfig, NodeRuntime } from '../cluster/io/index.js'
import { type Socket, StackError } from '../stack/index.js'
import { createChatServer } from './chat/server.js'
import { echo } from './echo/server.js'
import { createFileServer } from './files/server.js'
import { createKvServer } from './kv/server.js'
import { createNfsServer } from './nfs/server.js'
import { startProxy } from './proxy/server.js'
import { ticker } from './ticker/server.js'

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
  const serve = await serverOf(app, runtime, onError)
  const server = runtime.net.createServer({ allowHalfOpen: true }, serve)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: Error) => reject(refused(app, error)))
    server.listen(app.port, resolve)
  })
}

async function serverOf(
  app: AppConfig,
  runtime: NodeRuntime,
  onError: (error: Error) => void,
): Promise<(socket: Socket) => void> {
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
      return createKvServer(runtime.store)
    case 'nfs':
      return createNfsServer({ root: rootOf(app), store: runtime.store, onError })
    case 'sql': {
      // A database in WASM is a quarter of what a node loads, and other nodes need none of it.
      const { sqlServerFor } = await import('./sql/server.js')
      return sqlServerFor(app, runtime, onError)
    }
    case 'ticker':
      return ticker
    case 'chat':
      return createChatServer(runtime.store, runtime.config.id)
    default:
      throw new StackError(
        'ERR_UNKNOWN_APP',
        `app.name: '${app.name}' is unknown; there are http, chat, echo, kv, nfs, proxy, sql and ticker`,
      )
  }
}

function rootOf({ name, root }: AppConfig): string {
  if (root === undefined) {
    throw new StackError(
      'ERR_CONFIG',
      `app.root: the ${name} application needs the folder to serve`,
    )
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
