/** A node that has joined plays a take-over of its application through, so that its code is compiled before clients wait for it. */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startApp } from '../../apps/index.js'
import { rehearseApp } from '../../apps/rehearsal.js'
import type { NodeReport } from '../../cluster/io/index.js'

const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-test-'))
t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))

for (const name of ['http', 'kv', 'nfs', 'echo', 'chat', 'ticker', 'proxy']) {
  t.test(`P9: ${name} goes on with connections in its rehearsal`, async (t) => {
    const reports: NodeReport[] = []
    const errors: Error[] = []
    const connections = await rehearseApp({ name, port: 80 }, folder, (app, node) => {
      node.on('report', (report) => reports.push(report))
      return startApp(app, node, (error) => errors.push(error))
    })
    const takeovers = reports.filter((report) => report.event === 'takeover')
    const promoted = takeovers.reduce((sum, each) => sum + each.promoted, 0)
    t.ok(connections > 0)
    // The proxy's connections are two each.
    t.equal(promoted, connections * (name === 'proxy' ? 2 : 1))
    t.ok(takeovers.every(({ givenUp }) => Object.keys(givenUp).length === 0))
    t.same(
      errors.filter(({ message }) => !/Premature close|aborted/.test(message)),
      [],
    )
    t.same(fs.readdirSync(folder), [])
  })
}

t.test('an application without a rehearsal has none', async (t) => {
  t.equal(
    await rehearseApp({ name: 'sql', port: 80 }, folder, async () => void t.fail('started')),
    0,
  )
})
