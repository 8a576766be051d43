/**
 * A client of a key-value store that checks each answer (A4): eight connections, each with a counter and numbered keys, 16 requests at a
 * time; in the end it reads everything back. It prints a dot for each batch, then the number of writes; an answer that is missing, doubled
 * or wrong ends it with 1. `node kv-client.js HOST ROUNDS [PORT]`, with ROUNDS the writes of each connection.
 */
import { connect, type Socket } from 'node:net'

const [host = '', rounds = '1000', port = '6379'] = process.argv.slice(2)
const CONNECTIONS = 8
/** Pairs of a counter and a key in one batch. */
const PAIRS = 8

function request(...words: string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`
}

function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`
}

/** Hears `expected` and nothing else. Throws what came in its place. */
async function hear(heard: AsyncIterator<string>, expected: string): Promise<void> {
  let text = ''
  while (text.length < expected.length) {
    const { value, done } = await heard.next()
    if (done === true) throw new Error('the connection was closed')
    text += value
    if (!expected.startsWith(text)) {
      throw new Error(`${JSON.stringify(text)} in place of ${JSON.stringify(expected)}`)
    }
  }
}

async function serve(id: number): Promise<number> {
  const socket: Socket = connect({ host, port: Number(port), noDelay: true })
  socket.setEncoding('latin1')
  const heard = socket[Symbol.asyncIterator]() as AsyncIterator<string>
  const counter = `counter${id}`
  const keys = Array.from({ length: Number(rounds) }, (_, i) => `k${id}:${i}`)
  socket.write(request('DEL', counter))
  await heard.next()
  for (let at = 0; at < keys.length; at += PAIRS) {
    const batch = keys.slice(at, at + PAIRS)
    socket.write(
      batch.map((key, i) => request('INCR', counter) + request('SET', key, `v${at + i}`)).join(''),
    )
    await hear(heard, batch.map((_, i) => `:${at + i + 1}\r\n+OK\r\n`).join(''))
    process.stdout.write('.')
  }
  socket.write(request('GET', counter) + keys.map((key) => request('GET', key)).join(''))
  const values = keys.map((_, i) => bulk(`v${i}`)).join('')
  await hear(heard, bulk(String(keys.length)) + values)
  socket.end()
  return keys.length
}

const written = await Promise.all(Array.from({ length: CONNECTIONS }, (_, id) => serve(id)))
process.stdout.write(`\n${written.reduce((sum, each) => sum + each, 0)}\n`)
