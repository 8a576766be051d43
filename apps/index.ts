/**
 * The applications that a node can run, by name.
 */
import { statSync } from 'node:fs'
import type { AppConfig } from '../cluster/io/index.js'
import { type Net, type Socket, StackError } from '../stack/index.js'
import { echo } from './echo/server.js'
import { createFileServer } from './files/server.js'
import { createKvServer, type DataStore } from './kv/server.js'

/**
 * Starts the application of a configuration on `net` and resolves when it listens. Throws ERR_UNKNOWN_APP, ERR_CONFIG or
 * EADDRINUSE. `onError` hears what goes wrong in a connection later; `store` is the node's, for those that keep data.
 */
export async function startApp(
  app: AppConfig,
  net: Net,
  onError: (error: Error) => void,
  store: DataStore | null = null,
): Promise<void> {
  const server = net.createServer({ allowHalfOpen: true }, serverOf(app, onError, store))
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: Error) => reject(refused(app, error)))
    server.listen(app.port, resolve)
  })
}

function serverOf(
  app: AppConfig,
  onError: (error: Error) => void,
  store: DataStore | null,
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
      if (store === null) {
        throw new StackError('ERR_CONFIG', 'app.name: kv needs a node, which has a store')
      }
      return createKvServer(store)
    default:
      throw new StackError(
        'ERR_UNKNOWN_APP',
        `app.name: '${app.name}' is unknown; there are http, echo and kv`,
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
