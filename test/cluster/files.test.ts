/** The file server outlives its owner also where it has refused a request, or has said something short (A3). */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startApp } from '../../apps/index.js'
import { Company, talk, until } from './company.js'

function company(t: Test): { lab: Company; root: string } {
  const root = fs.mkdtempSync(join(tmpdir(), 'understudy-files-'))
  t.teardown(() => fs.rmSync(root, { recursive: true, force: true }))
  fs.writeFileSync(join(root, 'file.txt'), 'hello\n')
  const lab = new Company(t, (node) => {
    void startApp({ name: 'http', port: 80, root }, node, (error) => t.fail(error.message))
  })
  return { lab, root }
}

const count = (text: string, part: string): number => text.split(part).length - 1

t.test(
  'A3: the body of a request that was refused is not taken for heard before it came',
  async (t) => {
    const { lab, root } = company(t)
    await lab.owner()
    const client = talk(lab, 80)
    const half = 'x'.repeat(40_000)
    client.socket.write(
      `PUT /no/folder HTTP/1.1\r\nHost: x\r\nContent-Length: 80000\r\n\r\n${half}`,
    )
    await until(() => client.heard.includes('make it first'), 'refused')
    await lab.crashOwner()
    client.socket.write(`${half}GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n`)
    await until(() => client.heard.includes('hello'), 'answered')
    t.equal(count(client.heard, '409 Conflict'), 1)
    await lab.crashOwner()
    client.socket.write('PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nnew')
    await until(() => client.heard.includes('stored 3 octets'), 'stored')
    t.equal(fs.readFileSync(join(root, 'new'), 'utf8'), 'new')
    t.equal(lab.givenUp, 0)
    client.socket.destroy()
  },
)

t.test('A3: short answers are given once, whoever dies between them', async (t) => {
  const { lab } = company(t)
  await lab.owner()
  const client = talk(lab, 80)
  const ask = (path: string, fields = ''): void => {
    client.socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`)
  }
  ask('/missing')
  ask('/')
  await until(() => client.heard.includes('</html>'), 'answered')
  await lab.crashOwner()
  ask('/file.txt?sha256')
  ask('/file.txt', 'If-None-Match: *\r\n')
  await until(() => client.heard.includes('304 Not Modified'), 'answered')
  await lab.crashOwner()
  ask('/file.txt')
  await until(() => client.heard.endsWith('hello\n'), 'answered')
  t.same(
    client.heard.match(/HTTP\/1\.1 \d+/g)?.map((line) => Number(line.slice(9))),
    [404, 200, 200, 304, 200],
  )
  client.socket.destroy()
})
