/** The programs of apps/README.md do what it says, over the deaths of two owners each (A1, A2). */
import * as fs from 'node:fs'
import { createServer } from 'node:http'
import t, { type Test } from 'tap'
import { replayed } from '../../apps/http/replay.js'
import type { NodeRuntime } from '../../cluster/io/index.js'
import { Company, talk, until } from './company.js'

const programs = [...fs.readFileSync('apps/README.md', 'utf8').matchAll(/```js\n([\s\S]*?)```/g)]

/** Three nodes that each run the program with `mark` in it. */
function company(t: Test, mark: string): Company {
  const code = programs.map(([, text = '']) => text).find((text) => text.includes(mark)) ?? ''
  t.ok(code.split('\n').length <= 30, 'it is small')
  const body = code.replace(/^import .*$/gm, '').replace('await createNode', 'createNode')
  const run = new Function('createNode', 'createServer', 'replayed', body)
  return new Company(t, (node: NodeRuntime) => {
    run(() => node, createServer, replayed)
  })
}

t.test('A1: replay, as in the guide', async (t) => {
  const lab = company(t, 'replayed(server)')
  await lab.owner()
  const client = talk(lab, 80)
  client.socket.write('GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  await until(() => client.heard.length > 50_000, 'answered in part')
  await lab.crashOwner()
  await until(() => client.heard.length > 150_000, 'answered in part')
  await lab.crashOwner()
  await until(() => client.heard.endsWith('0\r\n\r\n'), 'answered')
  const lines = client.heard.match(/^\/a \d+$/gm) ?? []
  const wanted = Array.from({ length: 20_000 }, (_, i) => `/a ${i + 1}`)
  t.same(lines, wanted)
  client.socket.destroy()
})

for (const [title, mark, port, asked, wanted] of [
  [
    'A2: warm',
    "open('stock')",
    7,
    ['a\nb\na\nb', '\na', '\nb\n'],
    'a 1\nb 1\na 2\nb 2\na 3\nb 3\n',
  ],
  ['A1 P9: cold', "open('ledger')", 9, ['1\n2\n3', '\n4', '\n5\n'], '1\n3\n6\n10\n15\n'],
] as const) {
  t.test(`${title}, as in the guide`, async (t) => {
    const lab = company(t, mark)
    await lab.owner()
    const client = talk(lab, port)
    let complete = ''
    for (const part of asked) {
      client.socket.write(part)
      complete += part
      const lines = complete.split('\n').length - 1
      await until(() => client.heard.split('\n').length - 1 === lines, 'answered')
      if (part !== asked.at(-1)) await lab.crashOwner()
    }
    t.equal(client.heard, wanted)
    client.socket.destroy()
  })
}
