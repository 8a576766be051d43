/** The small applications outlive their owners in memory (A8): echo, ticker and chat. */
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { FrameTracker } from '../../apps/chat/frame-tracker.js'
import { startApp } from '../../apps/index.js'
import { Company, talk, until, VIRTUAL } from './company.js'

function company(t: Test, name: string, port: number): Company {
  return new Company(t, (node) => {
    void startApp({ name, port } as never, node, (error) => t.comment(error.message))
  })
}

t.test('A8: a ticker counts on, and no number is missing or doubled', async (t) => {
  const lab = company(t, 'ticker', 13)
  await lab.owner()
  const client = talk(lab, 13)
  const { socket } = client
  for (let kills = 1; kills <= 2; kills++) {
    await until(() => client.heard.includes(`${2 * kills}\n`), 'counting')
    await lab.crashOwner()
  }
  await until(() => client.heard.includes('6\n'), 'counting')
  const counted = client.heard.trim().split('\n').map(Number)
  t.same(
    counted,
    counted.map((_, i) => i + 1),
  )
  socket.end()
})

t.test('A8: echo gives back what it was told, once', async (t) => {
  const lab = company(t, 'echo', 7)
  await lab.owner()
  const client = talk(lab, 7)
  const { socket } = client
  let said = ''
  for (let i = 0; i < 6; i++) {
    socket.write(`${i}${'x'.repeat(50_000)}`)
    said += `${i}${'x'.repeat(50_000)}`
    if (i % 3 === 1) await lab.crashOwner()
    await until(() => client.heard.length === said.length, 'echoed')
  }
  t.ok(client.heard === said)
  socket.end()
})

t.test('A8: a chat goes on over two owners, and nobody misses a line', async (t) => {
  const lab = company(t, 'chat', 80)
  await lab.owner()
  const enter = (name: string) => {
    const createConnection = () => lab.client.connect(80, VIRTUAL) as never
    const ws = new WebSocket(`ws://${VIRTUAL}/chat?room=r&name=${name}`, { createConnection })
    const member = { ws, lines: [] as string[], ended: false, pongs: 0 }
    ws.on('message', (data) => {
      const { name, text } = JSON.parse(String(data))
      member.lines.push(`${name}: ${text}`)
    })
    ws.on('pong', () => member.pongs++)
    ws.on('error', (error) => t.fail(error.message))
    ws.on('close', () => {
      member.ended = true
    })
    return member
  }
  const ann = enter('ann')
  const bob = enter('bob')
  await until(() => ann.ws.readyState === 1 && bob.ws.readyState === 1, 'open')
  const said: string[] = []
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 20; i++) {
      ann.ws.send(`a${round}.${i}`)
      // In fragments, with a ping between them.
      bob.ws.send(`b${round}.`, { fin: false })
      bob.ws.ping()
      bob.ws.send(String(i), { fin: true })
      said.push(`ann: a${round}.${i}`, `bob: b${round}.${i}`)
      if (round < 2 && i === 10) void lab.crashOwner()
    }
    await until(
      () => bob.lines.length >= said.length && ann.lines.length >= said.length,
      'all said',
    )
  }
  t.same(bob.lines, ann.lines, 'both heard the same, in the same order')
  t.same([...ann.lines].sort(), [...said].sort(), 'each line once')
  t.ok(bob.pongs >= 60, `${bob.pongs} pongs`)
  t.notOk(ann.ended || bob.ended, 'on their first connections')
  const late = enter('eve')
  await until(() => late.lines.length === 50, 'told the last lines')
  t.same(late.lines, ann.lines.slice(-50))
  late.ws.send(Buffer.from('binary'))
  await until(() => late.ended, 'refused')
  t.equal(lab.givenUp, 0)
  ann.ws.close()
  bob.ws.close()
  await until(() => ann.ended && bob.ended, 'closed')
})

t.test('A8: the chat has a page, and says what else is not there', async (t) => {
  const lab = company(t, 'chat', 80)
  await lab.owner()
  const client = talk(lab, 80)
  const { socket } = client
  socket.write('GET /?room=r HTTP/1.1\r\nHost: x\r\n\r\nGET /other HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => client.heard.includes('the chat is at /'), 'answered')
  t.match(client.heard, /^HTTP\/1\.1 200 OK[\s\S]*<title>Understudy chat[\s\S]*HTTP\/1\.1 404/)
  socket.write(
    'GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
  )
  await until(() => socket.destroyed || socket.readableEnded, 'at its end')
  t.match(client.heard, /404 Not Found\r\nContent-Length: 0/)
  socket.destroy()
})

t.test('A8: the ends of frames are found in any pieces', async (t) => {
  const frame = (first: number, length: number): Buffer => {
    const head = Buffer.alloc(length < 126 ? 6 : length < 65_536 ? 8 : 14)
    head[0] = first
    head[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127)
    if (length >= 65_536) head.writeBigUInt64BE(BigInt(length), 2)
    else if (length >= 126) head.writeUInt16BE(length, 2)
    return Buffer.concat([head, Buffer.alloc(length, 1)])
  }
  const frames = [
    frame(0x81, 0),
    frame(0x01, 5),
    frame(0x89, 3),
    frame(0x80, 200),
    frame(0x82, 70_000),
    frame(0x88, 2),
  ]
  const octets = Buffer.concat(frames)
  const ends = frames.map((_, i) => 100 + Buffer.concat(frames.slice(0, i + 1)).length)
  for (const step of [1, 2, 7, 1000, octets.length]) {
    const tracker = new FrameTracker(100)
    for (let at = 0; at < octets.length; at += step) tracker.feed(octets.subarray(at, at + step))
    t.equal(tracker.take('message'), ends[0])
    t.equal(tracker.take('control'), ends[2])
    t.equal(tracker.take('message'), ends[3])
    t.equal(tracker.take('message'), ends[4])
    t.equal(tracker.take('control'), ends[5])
    t.equal(tracker.take('message'), undefined)
  }
})
