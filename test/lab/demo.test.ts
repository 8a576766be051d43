/** The demo as a person or a script runs it: on TAPs where there can be any, and in memory. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { listLabs } from '../../scripts/lab/lab-file.js'
import { whyNoLab } from './support.js'

const why = await whyNoLab()
const program = fileURLToPath(new URL('../../scripts/demo/main.js', import.meta.url))
const SIZE = 16 * 2 ** 20

function demo(
  t: Test,
  ...args: string[]
): { status: number | null; stdout: string; stderr: string } {
  const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-demo-test-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  const env = { ...process.env, TMPDIR: folder }
  const labs = new Set(listLabs().map((lab) => lab.id))
  const run = spawnSync(process.execPath, [program, '--size', '16M', '--rate', '16M', ...args], {
    encoding: 'utf8',
    env,
  })
  t.same(
    fs.readdirSync(folder).filter((name) => name.startsWith('understudy-demo-')),
    [],
  )
  const left = listLabs().filter((lab) => !labs.has(lab.id) && lab.owner.pid === run.pid)
  t.same(left, [], 'no lab is left')
  return run
}

function checkReport(t: Test, text: string, link: string, cause: string): void {
  const report = JSON.parse(text)
  const transfer = (ids: readonly number[]) => ({
    bytes: SIZE,
    sha256ok: true,
    takeovers: [
      { from: ids[0], to: ids[1], cause, stallMs: Number },
      { from: ids[1], to: ids[2], cause, stallMs: Number },
    ],
  })
  t.match(report, { ok: true, link, clientSyns: 2, clientResets: 0 }, text)
  t.match(report.download, transfer([1, 2, 3]))
  t.match(report.upload, { bytes: SIZE, sha256ok: true })
  t.equal(report.upload.takeovers.length, 2)
}

for (const [cause, ids, more] of [
  ['kill', 'A3, S1', []],
  ['stop', 'A3, S1, T8', ['--no-offload']],
] as const) {
  t.test(
    `${ids}: the demo on TAP devices (${[cause, ...more].join(' ')}) ends with a line of JSON`,
    { skip: why },
    async (t) => {
      const run = demo(t, '--json', '--cause', cause, ...more)
      t.equal(run.status, 0, run.stderr)
      t.equal(run.stdout.trim().split('\n').length, 1, 'nothing else on stdout')
      checkReport(t, run.stdout, 'tap', cause)
      t.match(run.stderr, /Both connections outlived two servers each/)
    },
  )
}

t.test('A3: the demo in memory needs no privilege and says what it is', async (t) => {
  const run = demo(t, '--json', '--memory')
  t.equal(run.status, 0, run.stderr)
  checkReport(t, run.stdout, 'memory', 'kill')
  t.match(run.stderr, /on a hub in memory, all in this process/)
  const stop = demo(t, '--json', '--memory', '--cause', 'stop')
  t.equal(stop.status, 1)
  t.match(JSON.parse(stop.stdout), { ok: false, error: { code: 'ERR_DEMO_NO_STOP' } })
})
