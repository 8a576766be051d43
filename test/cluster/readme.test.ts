/**
 * The application in README is what it says: it is taken from there, run on three nodes, and loses its owner between two lines.
 */
import * as fs from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { checkNodeConfig, MemoryCluster, parseIpv4Address } from '../../cluster/io/index.js'

const VIRTUAL = '10.77.0.100'

t.test('A2: the application of README goes on counting behind a take-over', async (t) => {
  const readme = fs.readFileSync('README.md', 'utf8')
  const code = /```js\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  t.ok(code.split('\n').length <= 25, 'it has at most 25 lines')
  const body = code.replace(/^import .*$/m, '').replace('await createNode', 'createNode')
  const run = new Function('createNode', body)
  const cluster = new MemoryCluster()
  t.teardown(() => cluster.close())
  for (const id of [1, 2, 3]) {
    const config = checkNodeConfig(
      {
        id,
        cluster: 'test',
        keyFile: '-',
        tap: '-',
        storeDir: '-',
        sharedDir: '-',
        binding: { address: `${VIRTUAL}/24` },
      },
      'test',
      '/',
    )
    run(() => cluster.start(config))
  }
  const owner = async (): Promise<number> => {
    for (;;) {
      const id = [1, 2, 3].find((id) => cluster.node(id)?.node.owns)
      if (id !== undefined) return id
      await delay(5)
    }
  }
  await owner()
  const socket = cluster.client(parseIpv4Address('10.77.0.9'), 24).connect(7, VIRTUAL)
  let heard = ''
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    heard += text
  })
  const expect = async (wanted: string): Promise<void> => {
    for (let i = 0; i < 400 && heard !== wanted; i++) await delay(5)
    t.equal(heard, wanted)
  }
  socket.write('one\ntwo\nthr')
  await expect('1: one\n2: two\n')
  await cluster.crash(await owner())
  socket.write('ee\nfour\n')
  await expect('1: one\n2: two\n3: three\n4: four\n')
  await cluster.crash(await owner())
  socket.write('five\n')
  await expect('1: one\n2: two\n3: three\n4: four\n5: five\n')
  socket.end()
})
