/**
 * A client of a key-value store that checks each answer (A4): eight connections, each with a counter and numbered keys, 16 requests at a
 * time; in the end it reads everything back. It prints a dot for each batch, then the number of writes; an answer that is missing, doubled
 * or wrong ends it with 1. `node kv-client.js HOST ROUNDS [PORT]`, with ROUNDS the writes of each connection, or `open`: then it goes on
 * until its standard input ends.
 */
import { connect, type Socket } from 'node:net'

const [host = '', rounds = '1000', port = '6379'] = process.argv.slice(2)
const CONNECTIONS = 8
/** Pairs of a counter and a key in one batch. */
const PAIRS = 8
/** Keys that are read back in one batch. */
const READS = 1000

const limit = rounds === 'open' ? Number.POSITIVE_INFINITY : Number(rounds)
let ending = false
if (rounds === 'open') process.stdin.resume().once('end', () => (ending = true))

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
  socket.write(request('DEL', counter))
  await heard.next()
  let count = 0
  while (count < limit && !ending) {
    const batch = numbers(count, Math.min(count + PAIRS, limit))
    count += batch.length
    socket.write(
      batch.map((i) => request('INCR', counter) + request('SET', `k${id}:${i}`, `v${i}`)).join(''),
    )
    await hear(heard, batch.map((i) => `:${i + 1}\r\n+OK\r\n`).join(''))
    process.stdout.write('.')
  }
  socket.write(request('GET', counter))
  await hear(heard, bulk(String(count)))
  for (let at = 0; at < count; at += READS) {
    const batch = numbers(at, Math.min(at + READS, count))
    socket.write(batch.map((i) => request('GET', `k${id}:${i}`)).join(''))
    await hear(heard, batch.map((i) => bulk(`v${i}`)).join(''))
  }
  socket.end()
  return count
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}

const written = await Promise.all(Array.from({ length: CONNECTIONS }, (_, id) => serve(id)))
process.stdout.write(`\n${written.reduce((sum, each) => sum + each, 0)}\n`)
