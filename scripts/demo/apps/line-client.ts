/**
 * Clients of the small applications (A8), on the kernel's sockets; each prints what it hears.
 * `node line-client.js echo HOST LINES`, `… ticker HOST LINES`, `… chat HOST ROOM LINES`.
 */
import { connect } from 'node:net'
import { WebSocket } from 'ws'

const [kind, host = '', ...rest] = process.argv.slice(2)
const ECHO_PORT = 7
const TICKER_PORT = 13

function fail(error: Error): never {
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
}

/** Says numbered lines, each when the one before has come back; or only hears, where `says` is false. */
function lines(port: number, count: number, says: boolean): void {
  const socket = connect(port, host)
  let heard = 0
  socket.setEncoding('latin1')
  socket.on('error', fail)
  if (says) socket.write('line 1\n')
  socket.on('data', (text: string) => {
    process.stdout.write(text)
    heard += text.split('\n').length - 1
    if (heard >= count) socket.end()
    else if (says && text.endsWith('\n')) socket.write(`line ${heard + 1}\n`)
  })
  socket.on('close', () => {
    if (heard < count) fail(new Error(`closed after ${heard} of ${count} lines`))
    process.exit(0)
  })
}

/** Two members of a room: one says numbered lines, each when it has heard the one before; the other prints what it hears. */
function chat(room: string, count: number): void {
  const url = (name: string): string => `ws://${host}/chat?room=${room}&name=${name}`
  const hearer = new WebSocket(url('hearer'))
  const speaker = new WebSocket(url('speaker'))
  let heard = 0
  const over = (): void => {
    if (heard < count) fail(new Error(`closed after ${heard} of ${count} lines`))
  }
  for (const socket of [hearer, speaker]) {
    socket.on('error', fail)
    socket.on('close', over)
  }
  speaker.on('message', (data) => {
    const said = Number(JSON.parse(String(data)).text.split(' ')[1])
    if (said < count) speaker.send(`line ${said + 1}`)
    else speaker.close()
  })
  hearer.on('message', (data) => {
    const { name, text } = JSON.parse(String(data))
    process.stdout.write(`${name}: ${text}\n`)
    heard++
    if (heard === count) hearer.close()
  })
  let open = 0
  const begin = (): void => {
    if (++open === 2) speaker.send('line 1')
  }
  hearer.on('open', begin)
  speaker.on('open', begin)
}

if (kind === 'chat') chat(rest[0] ?? '', Number(rest[1]))
else if (kind === 'echo') lines(ECHO_PORT, Number(rest[0]), true)
else lines(TICKER_PORT, Number(rest[0]), false)
