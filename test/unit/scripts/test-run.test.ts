/** The runner of the tests: whatever goes wrong in a file must make the run fail, and say why. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url))

/** Runs `text` as the only test file there is. */
function run(t: Test, text: string, ...args: string[]): { status: number | null; lines: string[] } {
  const root = fs.mkdtempSync(join(tmpdir(), 'understudy-test-run-'))
  t.teardown(() => fs.rmSync(root, { recursive: true, force: true }))
  fs.mkdirSync(join(root, 'scripts'))
  fs.mkdirSync(join(root, 'build', 'test', 'unit'), { recursive: true })
  for (const name of ['test-run.mjs', 'test-pool.mjs']) {
    fs.copyFileSync(join(ROOT, 'scripts', name), join(root, 'scripts', name))
  }
  fs.symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
  fs.writeFileSync(join(root, 'package.json'), '{"type":"module"}')
  fs.writeFileSync(join(root, 'build', 'test', 'unit', 'a.test.js'), `import t from 'tap'\n${text}`)
  const { stdout, status } = spawnSync(process.execPath, ['scripts/test-run.mjs', ...args], {
    cwd: root,
    encoding: 'utf8',
  })
  return { status, lines: stdout.trimEnd().split('\n') }
}

const GOOD = "t.test('good', async (t) => t.ok(true))\n"

t.test('what is well is counted', async (t) => {
  const { status, lines } = run(t, `${GOOD}t.test('two', async (t) => { t.ok(1); t.ok(2) })`)
  t.equal(status, 0)
  t.match(lines[0], /^ok {3}test\/unit\/a\.test\.ts {2}3 passed {2}\d+\.\d\d s$/)
  t.equal(lines.at(-1), '3 passed, 0 failed')
})

t.test('what a test that fails has remarked is told, and no remark of tap', async (t) => {
  const { lines } = run(t, "t.test('bad', async (t) => { t.comment('the wind turned'); t.fail() })")
  const said = lines.slice(lines.findIndex((line) => line.includes('output of the file')))
  t.match(said[1], /^ *# the wind turned$/, lines.join('\n'))
  t.notMatch(said.join('\n'), /Subtest|time=/)
})

t.test('a skip is told with its reason', async (t) => {
  const { status, lines } = run(t, `${GOOD}t.test('later', { skip: 'no wind' }, async () => {})`)
  t.equal(status, 0)
  t.ok(lines.includes('  test/unit/a.test.ts: later: no wind'), lines.join('\n'))
  t.equal(lines.at(-1), '1 passed, 0 failed, 1 skipped')
})

for (const [what, text, said] of [
  [
    'an assertion that fails',
    "t.test('bad', async (t) => t.equal(1, 2))",
    /^ {2}bad > should be equal/,
  ],
  ['a file that throws', "throw new Error('thrown')", /it ended with 1/],
  ['a rejection that nobody awaits', `${GOOD}Promise.reject(new Error('loose'))`, /loose/],
  ['a subtest that breaks its plan', "t.test('p', (t) => { t.plan(2); t.ok(1); t.end() })", /p\b/],
  ['a file without a test', '', /the file ran no test/],
  ['an end in mid-file', `${GOOD}t.test('cut', () => process.exit(0))`, /cut|the file itself/],
  ['a signal', `${GOOD}t.test('cut', () => process.kill(process.pid, 'SIGKILL'))`, /cut|SIGKILL/],
  ['an exit code', `${GOOD}process.on('exit', () => { process.exitCode = 3 })`, /ended with 3/],
  ['a bail-out', `${GOOD}t.bailout('no more')`, /no more/],
] as const) {
  t.test(`${what} makes the run fail`, async (t) => {
    const { status, lines } = run(t, text)
    t.equal(status, 1)
    t.match(lines.at(-1), /^\d+ passed, [1-9]\d* failed$/)
    t.match(lines[0], /^FAIL test\/unit\/a\.test\.ts/)
    t.ok(
      lines.slice(1).some((line) => said.test(line)),
      lines.join('\n'),
    )
  })
}

t.test('a file that hangs is ended, whether it waits or computes', async (t) => {
  for (const hang of [
    'await new Promise((r) => setTimeout(r, 60_000))',
    'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)',
  ]) {
    const { status, lines } = run(t, `t.test('hangs', async () => { ${hang} })`, '--timeout=1')
    t.equal(status, 1)
    t.ok(
      lines.some((line) => /hangs|too long/.test(line)),
      lines.join('\n'),
    )
  }
})

t.test('a file may ask for more time than others', async (t) => {
  const text =
    "t.setTimeout(60_000)\nt.test('slow', async (t) => { await new Promise((r) => setTimeout(r, 3000)); t.ok(1) })"
  const { status, lines } = run(t, text, '--timeout=1')
  t.equal(status, 0, lines.join('\n'))
})

t.test('a slip in a name or an option does not pass', async (t) => {
  for (const slip of ['test/nothing', '--job=2', '-x']) {
    const { status, lines } = run(t, GOOD, slip)
    t.equal(status, 1)
    t.equal(lines.at(-1), '0 passed, 1 failed')
  }
})
