/**
 * This `net` in the place of Node's, put there before `http`, `https` and `tls` are loaded: they run over it, both ends, without a
 * word of theirs or of the application's changed. Each case is a process of its own, as Node's modules are loaded once.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const NET = fileURLToPath(new URL('../../../stack/socket/net.js', import.meta.url))

// A key shared by both ends needs no certificate.
const HEAD = `
const net = require('node:net')
const KernelSocket = net.Socket
Object.assign(net, require(${JSON.stringify(NET)}).createNet())
const tls = require('node:tls')
const secret = {
  ciphers: 'PSK+AES128-GCM-SHA256:PSK-AES128-GCM-SHA256',
  maxVersion: 'TLSv1.2',
}
const psk = Buffer.alloc(32, 7)
const offer = { ...secret, pskCallback: () => ({ psk, identity: 'me' }), checkServerIdentity() {} }
const terms = { ...secret, pskCallback: () => psk }
const say = (...words) => console.log(words.join(' '))
`

function run(script: string): string[] {
  const done = spawnSync(process.execPath, ['-e', HEAD + script], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  return `${done.stdout}${done.stderr}`.trim().split('\n')
}

t.test('T9: tls.connect and tls.createServer run over this net', (t) => {
  const heard = run(`
    const server = tls.createServer(terms, (s) => {
      say('server', s instanceof net.Socket, s instanceof KernelSocket, s.remoteAddress, s.remotePort > 0)
      s.setEncoding('utf8').on('data', (text) => s.end(text.toUpperCase()))
    })
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      const s = tls.connect({ ...offer, port, host: '127.0.0.1' })
      say('connecting', s.connecting)
      s.on('connect', () => say('connect', s.connecting))
      s.on('secureConnect', () => say('secure', s.remotePort === port, s.localAddress))
      s.setNoDelay(true).setKeepAlive(true, 5000).unref().ref()
      s.setEncoding('utf8').on('data', (text) => say(text)).on('end', () => say('end'))
      s.on('close', (failed) => server.close(() => say('closed', failed)))
      s.write('hello')
    })`)
  t.strictSame(heard, [
    'connecting true',
    'connect false',
    'server true true 127.0.0.1 true',
    'secure true 127.0.0.1',
    'HELLO',
    'end',
    'closed false',
  ])
  t.end()
})

t.test(
  'T9: tls.connect over a socket that is still to connect, and to a port that nobody serves',
  (t) => {
    const heard = run(`
    const server = tls.createServer(terms, (s) => s.end('bye'))
    server.listen(0, () => {
      const { port } = server.address()
      const below = new net.Socket()
      const s = tls.connect({ ...offer, socket: below }, () => say('secure'))
      below.connect(port)
      s.setEncoding('utf8').on('data', (text) => say(text))
      s.on('close', () => {
        server.close()
        tls.connect({ ...offer, port }).on('error', (e) => say(e.code, e.syscall, e.port === port))
      })
    })`)
    t.strictSame(heard, ['secure', 'bye', 'ECONNREFUSED connect true'])
    t.end()
  },
)

t.test('T9: node:https and node:http ask and answer', (t) => {
  const heard = run(`
    const https = require('node:https')
    const http = require('node:http')
    const answer = (request, response) => {
      let length = 0
      request.on('data', (d) => (length += d.length))
      request.on('end', () => response.end(Buffer.alloc(length, 1)))
    }
    function ask(web, module, options, then) {
      web.listen(0, () => {
        const request = module.request({ ...options, port: web.address().port, method: 'POST' }, (response) => {
          let length = 0
          response.on('data', (d) => (length += d.length))
          response.on('end', () => {
            say(response.statusCode, length)
            web.close()
            then?.()
          })
        })
        request.end(Buffer.alloc(300000))
      })
    }
    ask(https.createServer(terms, answer), https, { ...offer, agent: false }, () =>
      ask(http.createServer(answer), http, { agent: false }))`)
  t.strictSame(heard, ['200 300000', '200 300000'])
  t.end()
})

t.test('T9: what Node makes with handles of its own stays the kernel’s', (t) => {
  const heard = run(`
    const { spawn } = require('node:child_process')
    const child = spawn(process.execPath, ['-e', 'process.stdin.pipe(process.stdout)'])
    child.stdout.setEncoding('utf8').on('data', (text) => say(text))
    child.stdin.end('through pipes')
    const { Duplex } = require('node:stream')
    say(String(net.Socket.prototype.bytesWritten))
    say(new Duplex() instanceof net.Socket)`)
  t.strictSame(heard, ['undefined', 'false', 'through pipes'])
  t.end()
})

t.test('T9: a look-up that never answers does not keep the process alive', (t) => {
  const heard = run(`
    net.connect({ port: 42, host: 'nowhere', lookup() {} })
    tls.connect({ port: 42, host: 'nowhere', hints: 512, lookup: (name, terms) => say(name, terms.hints) })`)
  t.strictSame(heard, ['nowhere 512'])
  t.end()
})
