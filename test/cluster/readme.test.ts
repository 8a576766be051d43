/**
 * The application in README is what it says: it is taken from there, run on three nodes, and loses its owner between two lines.
 */
import * as fs from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Company, talk } from './company.js'

t.test('A2: the application of README goes on counting behind a take-over', async (t) => {
  const readme = fs.readFileSync('README.md', 'utf8')
  const code = /```js\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  t.ok(code.split('\n').length <= 25, 'it has at most 25 lines')
  const body = code.replace(/^import .*$/m, '').replace('await createNode', 'createNode')
  const run = new Function('createNode', body)
  const lab = new Company(t, (node) => {
    run(() => node)
  })
  await lab.owner()
  const client = talk(lab, 7)
  const { socket } = client
  const expect = async (wanted: string): Promise<void> => {
    for (let i = 0; i < 400 && client.heard !== wanted; i++) await delay(5)
    t.equal(client.heard, wanted)
  }
  socket.write('one\ntwo\nthr')
  await expect('1: one\n2: two\n')
  await lab.crashOwner()
  socket.write('ee\nfour\n')
  await expect('1: one\n2: two\n3: three\n4: four\n')
  await lab.crashOwner()
  socket.write('five\n')
  await expect('1: one\n2: two\n3: three\n4: four\n5: five\n')
  socket.end()
})
