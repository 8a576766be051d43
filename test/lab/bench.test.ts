/** The bench as a person or a script runs it, as short as can be: what it prints is a report, and nothing is left behind. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { listLabs } from '../../scripts/lab/lab-file.js'
import { whyNoLab } from './support.js'

const why = await whyNoLab()
const program = fileURLToPath(new URL('../../scripts/bench/main.js', import.meta.url))

t.test('T8: the bench measures an upload beside the kernel', { skip: why }, async (t) => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-bench-test-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
  const args = [program, '--quick', '--runs', '1', '--json', 'upload', 'write-limit']
  const run = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: { ...process.env, TMPDIR: folder },
  })
  t.equal(run.status, 0, run.stderr)
  t.equal(run.stdout.trim().split('\n').length, 1, 'nothing else on stdout')
  const { machine, results } = JSON.parse(run.stdout)
  t.match(machine, { cpus: Number, node: process.version })
  t.strictSame(
    results.map(({ name, offload }: { name: string; offload: boolean }) => [name, offload]),
    [
      ['upload', true],
      ['upload', false],
      ['write-limit', true],
      ['write-limit', false],
    ],
  )
  for (const result of results) {
    t.match(result, { unit: 'Gbit/s', referenceName: 'kernel', runs: 1 })
    t.ok(result.ours > 0 && result.reference > 0 && result.ratio > 0, JSON.stringify(result))
  }
  t.same(
    fs.readdirSync(folder).filter((name) => name.startsWith('understudy-bench-')),
    [],
  )
  t.same(
    listLabs().filter((lab) => lab.owner.pid === run.pid),
    [],
    'no lab is left',
  )
})

t.test('P1: the bench has an owner killed under an exact upload', { skip: why }, async (t) => {
  const args = [program, '--runs', '1', '--json', 'takeover-kill']
  const run = spawnSync(process.execPath, args, { encoding: 'utf8' })
  t.equal(run.status, 0, run.stderr)
  const { results } = JSON.parse(run.stdout)
  t.match(results, [
    { name: 'takeover-kill-p50', unit: 'ms', runs: 1, failures: [] },
    { name: 'takeover-kill-p99', unit: 'ms', runs: 1 },
  ])
  t.ok(results[0].ours > 0, JSON.stringify(results))
})

t.test('the bench says what it does not know', async (t) => {
  const run = spawnSync(process.execPath, [program, 'warp'], { encoding: 'utf8' })
  t.equal(run.status, 2)
  t.match(run.stderr, /there is no measure warp; there are upload, /)
})
