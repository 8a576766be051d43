/**
 * The applications that a node can run, by name.
 */
import type { AppConfig } from '../cluster/io/index.js'
import { type Net, type Socket, StackError } from '../stack/index.js'
import { echo } from './echo/server.js'
import { createFileServer } from './files/server.js'

/** Starts the application of a configuration on `net`. Throws ERR_UNKNOWN_APP, ERR_CONFIG or EADDRINUSE. */
export function startApp(app: AppConfig, net: Net, onError: (error: Error) => void): void {
  if (app.name === 'echo') {
    net.createServer({ allowHalfOpen: true }, echo).listen(app.port)
  } else if (app.name === 'http') {
    if (app.root === undefined) {
      throw new StackError('ERR_CONFIG', 'app.root: the http application needs the folder to serve')
    }
    const server = createFileServer({ root: app.root, onError })
    net
      .createServer({ allowHalfOpen: true, noDelay: true }, (socket: Socket) => {
        server.emit('connection', socket)
      })
      .listen(app.port)
  } else {
    throw new StackError(
      'ERR_UNKNOWN_APP',
      `app.name: '${app.name}' is unknown; there are http and echo`,
    )
  }
}
