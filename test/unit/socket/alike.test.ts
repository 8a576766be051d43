/**
 * T9: programs that look closely see the same on this stack as on node:net: events and their order, errors, states.
 */

import type kernel from 'node:net'
import type { Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { both, closing, type Log, type Scenario, serve, spy } from './alike.js'

function alike(name: string, scenario: Scenario, skip: string | false = false): void {
  t.test(`T9: as node:net: ${name}`, { skip }, async (t) => {
    const { theirs, ours } = await both(scenario)
    t.ok(theirs.length > 0)
    t.strictSame(ours, theirs)
  })
}

/** The two ends speak at the same time: their logs are put one after the other. */
function apart(log: Log): { a: Log; b: Log; end: () => void } {
  const a: unknown[][] = []
  const b: unknown[][] = []
  return {
    a: (...entry) => a.push(entry),
    b: (...entry) => b.push(entry),
    end: () => {
      for (const entry of [...a, ...b]) log(...entry)
    },
  }
}

alike('echo', async (net, log) => {
  const { a, b, end } = apart(log)
  const { server, port } = await serve(net, {}, (socket) => {
    spy('server', socket, a)
    socket.on('data', (data) => socket.write(data))
  })
  spy('listener', server, a)
  const client = spy('client', net.connect(port, '127.0.0.1'), b)
  client.on('data', () => client.end())
  client.write('hello')
  await closing(client)
  server.close()
  await closing(server)
  await wait(5)
  end()
})

alike('states and counts of a socket through its life', async (net, log) => {
  const { server, port } = await serve(net, {}, (socket) => {
    socket.end('welcome')
    socket.resume()
  })
  const client = new net.Socket()
  const state = (when: string): void => {
    const { connecting, pending, readyState, destroyed, bytesRead, bytesWritten } = client
    log(
      when,
      connecting,
      pending,
      readyState,
      destroyed,
      bytesRead,
      bytesWritten,
      client.bufferSize,
    )
    log(when, client.remoteAddress, client.remoteFamily, client.localAddress, client.localFamily)
    log(when, client.address(), client.timeout, client.closed)
  }
  state('new')
  client.connect({ port, host: '127.0.0.1' })
  log(client.connecting, client.pending, client.readyState)
  client.write('abc')
  client.on('connect', () => state('connect'))
  client.on('data', () => log(client.bytesRead))
  client.on('end', () => log('end', client.readyState, client.bytesWritten))
  await closing(client)
  state('closed')
  client.setNoDelay().setKeepAlive(true, 10).setTimeout(10)
  client.pause().resume().ref().unref()
  server.close()
  await closing(server)
})

const WRONG_CONNECT: readonly unknown[][] = [
  [],
  [{}],
  [true],
  [false],
  [null],
  [{ port: null }],
  [{ port: {} }],
  [{ port: [] }],
  [''],
  [' '],
  [{ port: '0x' }],
  [{ port: '-0x1' }],
  [Number.NaN],
  [Number.POSITIVE_INFINITY],
  [-1],
  [65_536],
  [-1, '127.0.0.1'],
  [{ port: 1, localAddress: 'foo' }],
  [{ port: 1, localPort: 'foo' }],
  [{ port: 1, localPort: [] }],
  [{ port: 1, lookup: 'foo' }],
  [{ port: 1, lookup: {} }],
  [{ port: 1, host: 'localhost', hints: 57 + 42 }],
  [{ port: 1, autoSelectFamily: 1 }],
  [{ port: 1, autoSelectFamilyAttemptTimeout: '5' }],
  [{ port: 1, autoSelectFamilyAttemptTimeout: 0 }],
  [{ port: 1, autoSelectFamilyAttemptTimeout: 1.5 }],
  [{ port: 1, objectMode: true }],
  [{ port: 1, readableObjectMode: true }],
  [{ port: 1, writableObjectMode: true }],
  [{ port: 1, keepAliveInitialDelay: '1' }],
  [{ port: 1, timeout: 'x' }],
  [{ port: 1, timeout: -1 }],
]

alike('what connect refuses', async (net, log) => {
  for (const args of WRONG_CONNECT) {
    let socket: Socket | undefined
    try {
      const [options] = args
      socket = new net.Socket(typeof options === 'object' && options !== null ? options : {})
      socket.on('error', () => {})
      Reflect.apply(socket.connect, socket, args)
      log(args, 'nothing')
    } catch (error) {
      log(args, error)
    }
    socket?.destroy()
  }
})

const WRONG_LISTEN: readonly unknown[][] = [
  [{}],
  [{ host: 'x' }],
  [true],
  [{ port: true }],
  [{ port: -1 }],
  [{ port: 65_536 }],
  [-1],
  [1.5],
  [{ port: {} }],
  [{ fd: -1 }],
  [{ port: 'abc' }],
  [{ path: 5 }],
  [{ port: 0, signal: 'x' }],
]

alike('what listen and createServer refuse', async (net, log) => {
  for (const args of WRONG_LISTEN) {
    const server = net.createServer()
    try {
      Reflect.apply(server.listen, server, args)
      log(args, 'nothing')
    } catch (error) {
      log(args, error)
    }
    server.close()
  }
  for (const options of ['x', 5, { keepAliveInitialDelay: '5' }]) {
    try {
      net.createServer(options as never)
      log(options, 'nothing')
    } catch (error) {
      log(options, error)
    }
  }
})

alike('what setTimeout refuses', async (net, log) => {
  const socket = new net.Socket()
  const wrong = [undefined, null, '100', true, {}, -1, Number.NaN, Number.POSITIVE_INFINITY]
  for (const value of wrong) {
    try {
      socket.setTimeout(value as never, () => {})
    } catch (error) {
      log(value, error)
    }
  }
  for (const callback of [1, '100', true, null, {}, [], Symbol('x')]) {
    try {
      socket.setTimeout(1, callback as never)
      log('nothing')
    } catch (error) {
      log(error)
    }
  }
  socket.setTimeout(0)
})

alike('a connection refused', async (net, log) => {
  const { server, port } = await serve(net, {}, () => {})
  server.close()
  await closing(server)
  const client = spy('client', net.connect(port, '127.0.0.1'), log)
  client.on('error', () => {})
  client.write('lost', (error) => log('write', error))
  await closing(client)
  const named = spy('named', net.connect({ port, host: 'localhost', family: 4 }), log)
  named.on('error', () => {})
  await closing(named)
})

alike('names: found, not found, nonsense', async (net, log) => {
  const { server, port } = await serve(net, {}, (socket) => socket.end())
  const answers: unknown[][] = [
    [null, '127.0.0.1', 4],
    [null, '127.0.0.1', 100],
    [null, 'foobar', 4],
    [Object.assign(new Error('no'), { code: 'ENO' })],
  ]
  for (const answer of answers) {
    const lookup = (_name: string, options: object, found: (...args: unknown[]) => void): void => {
      log('asked', options)
      found(...answer)
    }
    for (const autoSelectFamily of [false]) {
      const options = { port, host: 'here.test', lookup: lookup as never, autoSelectFamily }
      const client = spy('client', net.connect(options), log)
      client.on('error', () => {}).resume()
      await closing(client)
    }
  }
  server.close()
})

alike('names with several addresses', async (net, log) => {
  const { server, port } = await serve(net, {}, (socket) => socket.end())
  const free = await serve(net, {}, () => {})
  free.server.close()
  const lists = [
    [{ address: '127.0.0.1', family: 4 }],
    [
      { address: 'nonsense', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ],
    [{ address: 'nonsense', family: 4 }],
    [{ address: '127.0.0.1', family: 9 }],
    [
      { address: '127.0.0.1', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ],
  ]
  for (const list of lists) {
    for (const to of [port, free.port]) {
      const lookup = (
        _name: string,
        options: object,
        found: (...args: unknown[]) => void,
      ): void => {
        log('asked', options)
        process.nextTick(found, null, list)
      }
      const options = { port: to, host: 'here.test', lookup: lookup as never }
      const client = net.connect({ ...options, autoSelectFamily: true })
      spy('client', client, log)
      client.on('error', () => {}).resume()
      await closing(client)
      log(client.autoSelectFamilyAttemptedAddresses?.length)
    }
  }
  server.close()
})

alike('half-open connections', async (net, log) => {
  const { a, b, end } = apart(log)
  const { server, port } = await serve(net, { allowHalfOpen: true }, (socket) => {
    spy('server', socket, a, ['close'])
    socket.resume()
    socket.on('end', () => {
      a(socket.readyState)
      setImmediate(() => socket.end('late'))
    })
  })
  const client = spy('client', net.connect({ port, host: '127.0.0.1', allowHalfOpen: true }), b)
  client.on('data', () => b(client.readyState))
  client.end('question')
  await closing(client)
  server.close()
  await closing(server)
  end()
})

alike('writes that come too late', async (net, log) => {
  const { server, port } = await serve(net, {}, (socket) => {
    socket.on('error', () => {})
    socket.resume().end()
  })
  const client = net.connect(port, '127.0.0.1')
  client.on('error', (error) => log('error', error))
  client.resume()
  client.on('end', () => {
    log(client.write('x', (error) => log('write', error)))
  })
  await closing(client)
  log(client.write('y', (error) => log('after close', error)))
  await wait(1)
  const fresh = new net.Socket()
  fresh.on('error', (error) => log('fresh', error))
  fresh.write('z', (error) => log('never connected', error))
  await closing(fresh)
  const ended = net.connect(port, '127.0.0.1')
  ended.on('error', (error) => log('ended', error))
  ended.end()
  ended.write('w', (error) => log('write after end', error))
  await closing(ended)
  server.close()
  await closing(server)
})

alike('destroy before and while connecting, and with an error', async (net, log) => {
  const { server, port } = await serve(net, {}, (socket) => socket.on('error', () => {}))
  const early = spy('early', new net.Socket(), log)
  early.destroy()
  await closing(early)
  const opening = spy('opening', net.connect(port, '127.0.0.1'), log)
  opening.write('x', (error) => log('write', error))
  opening.destroy()
  await closing(opening)
  const failing = spy('failing', net.connect(port, '127.0.0.1'), log)
  failing.on('error', () => {})
  failing.on('connect', () => failing.destroy(new Error('mine')))
  await closing(failing)
  log(failing.errored, failing.destroyed, failing.readyState)
  const reset = spy('reset', new net.Socket(), log)
  reset.on('error', () => {})
  log(reset.resetAndDestroy() === reset)
  await closing(reset)
  server.close()
  await closing(server)
})

alike('a reset', async (net, log) => {
  const { server, port } = await serve(net, {}, (socket) => {
    socket.on('data', () => socket.resetAndDestroy())
  })
  const client = spy('client', net.connect(port, '127.0.0.1'), log)
  client.on('error', () => {})
  client.write('x')
  await closing(client)
  server.close()
  await closing(server)
})

alike('a socket that connects again', async (net, log) => {
  let count = 0
  const { server, port } = await serve(net, {}, (socket) => {
    socket.resume()
    socket.end(`greeting ${++count}`)
  })
  const client = spy('client', new net.Socket(), log, ['readable', 'connectionAttempt'])
  client.setEncoding('utf8')
  client.on('data', () => {})
  for (let i = 0; i < 3; i++) {
    client.connect(port, '127.0.0.1')
    await closing(client)
    log(client.destroyed, client.bytesRead > 0)
  }
  server.close()
  await closing(server)
})

alike('timeouts', async (net, log) => {
  const { server, port } = await serve(net, {}, (socket) => socket.resume())
  const client = net.connect({ port, host: '127.0.0.1', timeout: 10 })
  log(client.timeout)
  await new Promise<void>((resolve) => client.once('timeout', resolve))
  log('timeout', client.destroyed, client.timeout)
  client.setTimeout(10, () => log('mine'))
  await new Promise<void>((resolve) => client.once('timeout', resolve))
  client.setTimeout(0)
  log(client.timeout, client.listenerCount('timeout'))
  client.destroy()
  await closing(client)
  server.close()
  await closing(server)
})

alike('onread', async (net, log) => {
  const text = 'Lorem ipsum dolor sit amet'
  const { server, port } = await serve(net, {}, (socket) => socket.end(text))
  const buffer = Buffer.alloc(8)
  for (const lent of [buffer, () => Buffer.alloc(8)]) {
    let total = 0
    const client = net.connect({
      port,
      host: '127.0.0.1',
      onread: {
        buffer: lent as never,
        callback: (length, bytes) => {
          total += length
          log(length, bytes.subarray(0, length))
          if (total === 8) {
            setImmediate(() => client.resume())
            return false
          }
          return true
        },
      },
    })
    client.on('data', () => log('data'))
    client.on('end', () => log('end', total, client.bytesRead))
    await closing(client)
  }
  server.close()
  await closing(server)
})

alike('onread: buffers in turn, and a callback that pauses its socket', async (net, log) => {
  const { server, port } = await serve(net, {}, (socket) => socket.end('hello world'))
  const buffers = [Buffer.alloc(2), Buffer.alloc(2), Buffer.alloc(2)]
  let asked = 0
  const turns = net.connect({
    port,
    host: '127.0.0.1',
    onread: {
      buffer: () => buffers[asked++ % 3] as Uint8Array as never,
      callback: (length, bytes) => {
        log(length, bytes.subarray(0, length), bytes === buffers[(asked - 1) % 3])
        return true
      },
    },
  })
  await closing(turns.resume())
  log('asked', asked)
  let paused = false
  const pausing = net.connect({
    port,
    host: '127.0.0.1',
    onread: {
      buffer: Buffer.alloc(8),
      callback(this: Socket, length: number) {
        log(length, paused, this === pausing)
        paused = true
        this.pause()
        setTimeout(() => {
          paused = false
          this.resume()
        }, 20)
        return true
      },
    },
  } as never)
  await closing(pausing)
  server.close()
  await closing(server)
})

alike('port 0, and what a server counts', async (net, log) => {
  const nowhere = net.connect(0, '127.0.0.1')
  nowhere.on('error', (error) => log(error))
  await closing(nowhere)
  const stream = new net.Socket() as Socket & { _server: { _connections: number } }
  const counted = new net.Server() as unknown as { _connections: number }
  stream._server = counted
  counted._connections = 10
  stream.destroy().destroy()
  log(counted._connections)
  const { noDelay, keepAlive, keepAliveInitialDelay } = net.createServer({
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 3000,
  }) as unknown as Record<string, unknown>
  log(noDelay, keepAlive, keepAliveInitialDelay)
})

alike('signals', async (net, log) => {
  const { server, port } = await serve(net, {}, (socket) => socket.on('error', () => {}).resume())
  const controller = new AbortController()
  const client = net.connect({ port, host: '127.0.0.1', signal: controller.signal } as never)
  client.on('error', (error) => log(error.name, error.message))
  client.on('connect', () => controller.abort())
  await closing(client)
  const aborted = net.connect({ port, host: '127.0.0.1', signal: AbortSignal.abort() } as never)
  aborted.on('error', (error) => log(error.name, error.message))
  await closing(aborted)
  server.close()
  await closing(server)
  for (const signal of [AbortSignal.abort(), controller.signal, new AbortController().signal]) {
    const other = spy('server', net.createServer(), log)
    other.listen({ port: 0, signal }, () => log('listening'))
    if (!signal.aborted) other.on('listening', () => other.close())
    await closing(other)
  }
})

alike('a server that listens, and does not', async (net, log) => {
  const server = spy('server', net.createServer(), log)
  log(server.listening, server.address())
  await new Promise<void>((resolve) => {
    server.close((error) => {
      log('not running', error)
      resolve()
    })
  })
  server.listen(0, '127.0.0.1')
  await new Promise<void>((resolve) => server.once('listening', resolve))
  const again = (): void => {
    server.listen(0)
  }
  try {
    again()
  } catch (error) {
    log(error)
  }
  const other = spy('other', net.createServer(), log)
  other.on('error', () => other.listen(0))
  other.listen((server.address() as { port: number }).port, '127.0.0.1')
  await new Promise<void>((resolve) => other.once('listening', resolve))
  server.getConnections((error, count) => log('connections', error, count))
  server.close(() => log('closed'))
  other.close(() => log('other closed'))
  await Promise.all([closing(server), closing(other)])
  log(server.listening, server.address())
})

alike('who is turned away', async (net, log) => {
  const { server, port } = await serve(net, {}, () => log('taken'))
  server.maxConnections = 1
  server.on('drop', (dropped) => log('drop', dropped))
  const first = net.connect(port, '127.0.0.1')
  await new Promise<void>((resolve) => server.once('connection', () => resolve()))
  const second = net.connect(port, '127.0.0.1').resume()
  second.on('error', () => {})
  await closing(second)
  first.destroy()
  server.close()
  await closing(server)
  log((server as unknown as { _connections: number })._connections)
})

alike('a paused server side', async (net, log) => {
  const { server, port } = await serve(net, { pauseOnConnect: true }, (socket) => {
    spy('server', socket, log, ['resume', 'pause'])
    log(
      socket.isPaused(),
      socket.bytesRead,
      (socket as unknown as { server: unknown }).server === server,
    )
    setTimeout(() => {
      log(socket.bytesRead, socket.readableLength)
      socket.resume()
    }, 20)
    socket.on('data', () => {})
  })
  const client = net.connect(port, '127.0.0.1').resume()
  client.end('kept')
  await closing(client)
  await closing(server.close())
})

alike('rejections of listeners', async (net, log) => {
  const { EventEmitter } = await import('node:events')
  EventEmitter.captureRejections = true
  const { server, port } = await serve(net, {}, async (socket) => {
    spy('server', socket, log, ['resume', 'end', 'readable'])
    socket.on('error', () => {})
    throw new Error('rejected')
  })
  EventEmitter.captureRejections = false
  const client = net.connect(port, '127.0.0.1').resume()
  client.on('error', () => {})
  await closing(client)
  server.close()
  await closing(server)
})

alike('constructors as functions and as bases', async (net, log) => {
  const call = net as unknown as { Socket: (o?: object) => Socket; Server: () => object }
  log(call.Socket() instanceof net.Socket, call.Server() instanceof net.Server)
  function Old(this: object): void {
    Reflect.apply(call.Socket, this, [{ allowHalfOpen: true }])
  }
  Object.setPrototypeOf(Old.prototype, net.Socket.prototype)
  const old = new (Old as unknown as new () => Socket)()
  log(
    old instanceof net.Socket,
    old.allowHalfOpen,
    old.readyState,
    (net as unknown as { Stream: unknown }).Stream === net.Socket,
  )
  class Young extends net.Server {}
  log(new Young() instanceof Young, new net.Server() instanceof Young, net.Socket.name)
  const { server, port } = await serve(net, {}, (socket) => {
    log(socket instanceof net.Socket, socket.constructor === net.Socket)
    socket.end('x')
  })
  old.resume().connect(port, '127.0.0.1')
  old.on('end', () => old.end())
  await closing(old)
  server.close()
  await closing(server)
})

const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === '::1'),
)

alike(
  'IPv4 and IPv6 on one host: who listens where, and under which names the ends know each other',
  async (net, together) => {
    const { a, b: log, end } = apart(together)
    const listens: [string, kernel.ListenOptions][] = [
      ['anywhere', { port: 0 }],
      ['::', { port: 0, host: '::' }],
      [':: without IPv4', { port: 0, host: '::', ipv6Only: true }],
      ['0.0.0.0', { port: 0, host: '0.0.0.0' }],
      ['::1', { port: 0, host: '::1' }],
      ['127.0.0.1', { port: 0, host: '127.0.0.1' }],
    ]
    for (const [name, options] of listens) {
      const server = net.createServer((socket) => {
        const { localAddress, localFamily, remoteAddress, remoteFamily } = socket
        a(name, 'server', localAddress, localFamily, remoteAddress, remoteFamily)
        socket.end()
      })
      await new Promise<void>((resolve) => server.listen(options, resolve))
      log(name, server.address())
      const { port } = server.address() as kernel.AddressInfo
      for (const host of ['127.0.0.1', '::1', '0.0.0.0', '::']) {
        const client = net.connect(port, host)
        client.on('error', (error) => log(name, host, error))
        client.on('connect', () => {
          const { localAddress, localFamily, remoteAddress, remoteFamily } = client
          log(name, host, localAddress, localFamily, remoteAddress, remoteFamily)
        })
        client.resume()
        await closing(client)
      }
      server.close()
      await closing(server)
    }
    end()
  },
  hasIpv6 ? false : 'this host has no ::1',
)
