/**
 * The key-value store on a real bridge (A4): a client of the kernel's pipelines counters and writes while owners die; every answer
 * is there once, in order, and what was acknowledged is found by the next owner. Redis's own clients, where they are installed.
 */
import { spawnSync } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Lab } from '../../scripts/lab/lab.js'
import { ended, killOwner, whyNoLab } from './support.js'

const why = await whyNoLab()
const noRedis =
  spawnSync('redis-benchmark', ['--version']).status === 0 ? false : 'redis-tools is not installed'

/** Eight connections, each with a counter and numbered keys, 16 requests at a time; then reads everything back. */
const CLIENT = `
  import { connect } from 'node:net'
  const [host, rounds] = process.argv.slice(1)
  const request = (...words) => '*' + words.length + '\\r\\n' + words.map((w) => '$' + w.length + '\\r\\n' + w + '\\r\\n').join('')
  const one = (id) => new Promise((resolve, reject) => {
    const socket = connect(6379, host)
    let text = '', n = 0, waiting = []
    const batch = () => {
      if (n >= Number(rounds)) {
        socket.removeAllListeners('data')
        let got = ''
        socket.write(request('GET', 'counter' + id) + Array.from({ length: n }, (_, i) => request('GET', 'k' + id + ':' + i)).join(''))
        const expected = '$' + String(n).length + '\\r\\n' + n + '\\r\\n' +
          Array.from({ length: n }, (_, i) => '$' + ('v' + i).length + '\\r\\nv' + i + '\\r\\n').join('')
        socket.on('data', (d) => {
          got += d
          if (got.length < expected.length) return
          socket.end()
          got === expected ? resolve(n) : reject(new Error('another value'))
        })
        return
      }
      let out = ''
      for (let i = 0; i < 8; i++, n++) {
        out += request('INCR', 'counter' + id) + request('SET', 'k' + id + ':' + n, 'v' + n)
        waiting.push(':' + (n + 1), '+OK')
      }
      socket.write(out)
    }
    socket.on('connect', batch)
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed')))
    socket.on('data', (d) => {
      text += d
      for (let end = text.indexOf('\\r\\n'); end >= 0; end = text.indexOf('\\r\\n')) {
        const line = text.slice(0, end)
        text = text.slice(end + 2)
        const wanted = waiting.shift()
        if (line !== wanted) return reject(new Error(line + ' in place of ' + wanted))
      }
      if (waiting.length === 0) setTimeout(batch, 1)
    })
  })
  const counts = await Promise.all(Array.from({ length: 8 }, (_, id) => one(id)))
  console.log(counts.reduce((a, b) => a + b, 0))
`

t.test('A4: every request is carried out once, whoever dies', { skip: why }, async (t) => {
  const lab = await Lab.create({ nodes: 3, app: 'kv' })
  t.teardown(() => lab.close())
  await lab.startAll()
  const counting = lab.startCounting()
  const [host = ''] = lab.record.address.split('/')
  const rounds = 4000
  const argv = [process.execPath, '--input-type=module', '-e', CLIENT, host, String(rounds)]
  const client = ended(lab.spawnInClient(argv))
  for (let kills = 0; kills < 2; kills++) {
    await delay(700)
    await killOwner(lab)
  }
  const { code, stdout, stderr } = await client
  t.equal(code, 0, stderr)
  t.equal(Number(stdout), 8 * rounds)
  const takeovers = lab.events.filter(({ event }) => event === 'takeover')
  t.match(takeovers, [{ promoted: 8 }, { promoted: 8 }], 'all eight connections, twice')
  if (counting)
    t.match(
      lab.wireCounts(),
      { syns: 8, resetsIn: 0, resetsOut: 0 },
      'no connection was opened again',
    )
})

t.test('A4: redis-benchmark goes on over two deaths', { skip: why || noRedis }, async (t) => {
  const lab = await Lab.create({ nodes: 3, app: 'kv' })
  t.teardown(() => lab.close())
  await lab.startAll()
  const [host = ''] = lab.record.address.split('/')
  const run = (...argv: string[]) => ended(lab.spawnInClient(argv))
  const args = ['-h', host, '-n', '60000', '-P', '16', '-t', 'set,get,incr,lpush', '-q']
  const bench = run('redis-benchmark', ...args)
  for (let kills = 0; kills < 2; kills++) {
    await delay(1000)
    await killOwner(lab)
  }
  const { code, stdout, stderr } = await bench
  t.equal(code, 0, stderr)
  t.notMatch(`${stdout}${stderr}`, /error|reset|closed/i)
  t.match(await run('redis-cli', '-h', host, 'get', 'counter:__rand_int__'), { stdout: '60000\n' })
  t.match(await run('redis-cli', '-h', host, 'llen', 'mylist'), { stdout: '60000\n' })
})
