/** Servers of node:http that know nothing of take-overs outlive their nodes: their input is replayed (A1). */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { replayed } from '../../apps/http/replay.js'
import { Company, talk, until } from './company.js'

type Handler = (req: IncomingMessage, res: ServerResponse) => void

function company(t: Test, handler: Handler): Company {
  return new Company(t, (node) => {
    node.net.createServer({ allowHalfOpen: true }, replayed(createServer(handler))).listen(80)
  })
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`

function* numbers(count: number): Iterable<string> {
  for (let i = 0; i < count; i++) yield `${i} ${'.'.repeat(40)}\n`
}

/** The bodies of answers in chunks. */
function bodies(heard: string): string[] {
  return heard
    .split('HTTP/1.1 200 OK\r\n')
    .slice(1)
    .map((answer) => {
      let body = ''
      let at = answer.indexOf('\r\n\r\n') + 4
      for (;;) {
        const end = answer.indexOf('\r\n', at)
        const size = Number.parseInt(answer.slice(at, end), 16)
        if (!(size > 0)) return body
        body += answer.slice(end + 2, end + 2 + size)
        at = end + 2 + size + 2
      }
    })
}

t.test('A1: answers go on where they were, also pipelined ones, each once', async (t) => {
  const counts = [40_000, 3, 60_000]
  const handled: string[] = []
  const lab = company(t, (req, res) => {
    handled.push(req.url ?? '')
    Readable.from(numbers(Number(req.url?.slice(1)))).pipe(res)
  })
  await lab.owner()
  const client = talk(lab, 80, true)
  client.socket.write(counts.map((count) => get(`/${count}`)).join(''))
  const wanted = counts.map((count) => [...numbers(count)].join(''))
  const total = wanted.join('').length
  for (const part of [0.2, 0.7]) {
    await until(() => client.heard.length > part * total, `at ${part} of the answers`)
    await lab.crashOwner()
  }
  await until(() => client.heard.length > total && client.heard.endsWith('0\r\n\r\n'), 'at the end')
  const dates = client.heard.match(/^Date: .*$/gm) ?? []
  t.equal(dates.length, counts.length)
  t.same(
    bodies(client.heard).map((body) => body.length),
    wanted.map((body) => body.length),
  )
  t.ok(bodies(client.heard).join('') === wanted.join(''), 'octet for octet')
  t.ok(handled.length > counts.length, 'what was not answered in whole was asked again')
  t.equal(lab.givenUp, 0)
  // What was answered before the take-over is not asked again.
  const before = handled.length
  await lab.owner()
  client.socket.write(get('/5'))
  await until(() => bodies(client.heard).length === 4, 'at one more answer')
  t.same(handled.slice(before), ['/5'])
  client.socket.end()
})

t.test('A1: a request that came in part is heard in whole by the next handler', async (t) => {
  const lab = company(t, (req, res) => {
    const hash = createHash('sha256')
    req.on('data', (chunk) => hash.update(chunk))
    req.on('end', () => res.end(hash.digest('hex')))
  })
  await lab.owner()
  const client = talk(lab, 80, true)
  const body = 'understudy'.repeat(20_000)
  const chunk = `${body.length.toString(16)}\r\n${body}\r\n`
  const head = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
  client.socket.write(head + chunk)
  await delay(50)
  await lab.crashOwner()
  client.socket.write(`${chunk}0\r\n\r\n`)
  const wanted = createHash('sha256')
    .update(body + body)
    .digest('hex')
  await until(() => client.heard.endsWith(wanted), 'answered')
  await lab.crashOwner()
  client.socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx`)
  const next = createHash('sha256').update('x').digest('hex')
  await until(() => client.heard.endsWith(next), 'answered on the third node')
  t.equal(client.error, null)
  client.socket.end()
})

t.test('A1 P22: a handler that is not deterministic is found out', async (t) => {
  let calls = 0
  const lab = company(t, (_req, res) => {
    const mark = String.fromCharCode(97 + calls++)
    res.setHeader('Content-Length', 8_000_000)
    res.end(mark.repeat(8_000_000))
  })
  await lab.owner()
  const client = talk(lab, 80, true)
  client.socket.write(get('/'))
  await until(() => client.heard.length > 1_000_000, 'answered in part')
  await lab.crashOwner()
  await until(() => client.socket.destroyed, 'at its end')
  t.equal((client.error as NodeJS.ErrnoException | null)?.code, 'ECONNRESET')
  t.notMatch(client.heard, /b/, 'the client never sees two answers mixed')
})

t.test('A1: what is repeated does not keep the loop from turning', async (t) => {
  const pieces = 3000
  const piece = 'x'.repeat(10_000)
  let turns = 0
  let resumed = false
  let between = 0
  // Writes as long as there is room, as a handler may that has all its answer at hand.
  const lab = company(t, (_req, res) => {
    res.setHeader('Content-Length', pieces * piece.length)
    const began = turns
    let written = 0
    const pump = (): void => {
      while (written < pieces) {
        written++
        if (resumed && written === pieces / 3) between = turns - began
        if (!res.write(piece)) {
          res.once('drain', pump)
          return
        }
      }
      res.end()
    }
    pump()
  })
  await lab.owner()
  const client = talk(lab, 80, true)
  client.socket.write(get('/'))
  await until(() => client.heard.length > (pieces * piece.length) / 2, 'half way')
  resumed = true
  let counting = true
  const turn = (): void => {
    turns++
    if (counting) setImmediate(turn)
  }
  turn()
  await lab.crashOwner()
  await until(() => between > 0, 'repeated')
  counting = false
  t.ok(between > 100, `${between} turns for ${pieces / 3} pieces`)
  client.socket.destroy()
})

t.test('A1: the limits of node:http hold for a server that does not listen itself', async (t) => {
  const limits = { headersTimeout: 300, requestTimeout: 600 }
  const lab = new Company(t, (node) => {
    const server = createServer((req, res) => {
      req.resume()
      req.on('end', () => res.end('answer'))
    })
    Object.assign(server, limits)
    node.net.createServer({ allowHalfOpen: true }, replayed(server)).listen(80)
  })
  await lab.owner()
  const good = talk(lab, 80)
  const [mute, head, body] = [talk(lab, 80, true), talk(lab, 80, true), talk(lab, 80, true)]
  head.socket.write('GET / HTTP/1.1\r\nHost')
  body.socket.write('PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n')
  const dripping = setInterval(() => {
    head.socket.write('x')
    body.socket.write('x')
  }, 50)
  good.socket.write(get('/'))
  for (const each of [mute, head, body]) {
    await until(() => each.closed || each.socket.readableEnded, 'dropped')
    t.match(each.heard, /^HTTP\/1\.1 408/)
  }
  clearInterval(dripping)
  good.socket.write(get('/'))
  await until(() => good.heard.split('HTTP/1.1 200').length === 3, 'answered beside them')
  good.socket.destroy()
})
