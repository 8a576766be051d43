/** Each rule of tidy fires on a small source that breaks it, and keeps silent on one that does not. */
import t from 'tap'
import { check, format } from '../../../scripts/tidy.js'

const HEAD = '/**\n * What it is.\n */\n\n'
const HOT = `// hot path: no allocation per frame\n${HEAD}`
const TCB = `${HEAD}export class Tcb {\n  sndNxt = 0\n  state = 0\n}\n`

/** The rules that fire on one source, each with its line. */
function fired(path: string, text: string, more: [string, string][] = []): string[] {
  const found = check(new Map([[path, text], ...more])).filter((one) => one.path === path)
  return found.map((one) => `${one.rule}${one.warning ? '?' : ''}:${one.line}`)
}

function imports(path: string, specifier: string): string[] {
  return fired(path, `${HEAD}import { x } from '${specifier}'\n`)
}

t.test('layer: refuses what the table does not allow', (t) => {
  const bad: [string, string][] = [
    ['stack/base/a.ts', '../wire/b.js'],
    ['stack/base/a.ts', 'node:fs'],
    ['stack/wire/a.ts', '../tcp/b.js'],
    ['stack/tcp/a.ts', '../net/b.js'],
    ['stack/link/a.ts', '../net/b.js'],
    ['stack/net/a.ts', '../tcp/b.js'],
    ['stack/tcp/recovery/a.ts', '../../net/b.js'],
    ['stack/stack.ts', './socket/net.js'],
    ['stack/stack.ts', './io/driver.js'],
    ['stack/socket/a.ts', '../io/driver.js'],
    ['stack/socket/a.ts', 'node:fs'],
    ['stack/io/a.ts', '../tcp/b.js'],
    ['stack/io/a.ts', 'ws'],
    ['stack/net/a.ts', '../../cluster/index.js'],
    ['stack/novel/a.ts', './b.js'],
    ['cluster/a.ts', '../stack/tcp/tcb.js'],
    ['cluster/a.ts', './io/store.js'],
    ['cluster/control/a.ts', 'node:fs'],
    ['cluster/io/a.ts', '../../stack/tcp/tcb.js'],
    ['apps/echo/main.ts', '../../stack/tcp/tcb.js'],
    ['apps/echo/main.ts', '../../cluster/io/store.js'],
    ['apps/echo/main.ts', 'lmdb'],
  ]
  for (const [path, specifier] of bad) {
    t.same(imports(path, specifier), ['layer:5'], `${path} must not import ${specifier}`)
  }
  t.end()
})

t.test('layer: allows what the table allows', (t) => {
  const good: [string, string][] = [
    ['stack/base/a.ts', './b.js'],
    ['stack/wire/schema.ts', 'binary-parser'],
    ['stack/tcp/recovery/a.ts', '../tcb.js'],
    ['stack/tcp/a.ts', '../wire/tcp.js'],
    ['stack/net/a.ts', '../link/b.js'],
    ['stack/stack.ts', './net/nic.js'],
    ['stack/index.ts', './socket/net.js'],
    ['stack/socket/a.ts', 'node:stream'],
    ['stack/socket/a.ts', '../stack.js'],
    ['stack/io/a.ts', 'node:fs'],
    ['cluster/a.ts', '../stack/index.js'],
    ['cluster/control/a.ts', '../binding.js'],
    ['cluster/io/a.ts', '../../stack/io/driver.js'],
    ['cluster/io/a.ts', 'lmdb'],
    ['apps/echo/main.ts', '../../stack/socket/net.js'],
    ['apps/echo/main.ts', 'understudy/net'],
    ['test/unit/a.test.ts', '../../stack/tcp/tcb.js'],
    ['scripts/a.ts', '../stack/tcp/tcb.js'],
  ]
  for (const [path, specifier] of good) {
    t.same(imports(path, specifier), [], `${path} may import ${specifier}`)
  }
  t.end()
})

t.test('layer: sees every way to import', (t) => {
  const path = 'stack/base/a.ts'
  t.same(fired(path, `${HEAD}export * from '../wire/b.js'\n`), ['layer:5'])
  t.same(fired(path, `${HEAD}import type { B } from '../wire/b.js'\n`), ['layer:5'])
  t.same(fired(path, `${HEAD}type B = import('../wire/b.js').B\n`), ['layer:5'])
  t.same(fired(path, `${HEAD}const b = import('../wire/b.js')\n`), ['layer:5'])
  t.same(fired(path, `${HEAD}const b = require('../wire/b.js')\n`), ['layer:5'])
  t.end()
})

t.test('ban: the core must not touch the world', (t) => {
  const sources = [
    'const a = Date.now()',
    'const a = Math.random()',
    'setTimeout(f, 1)',
    'setInterval(f, 1)',
    'setImmediate(f)',
    'queueMicrotask(f)',
    'const a = performance.now()',
    'const a = process.env',
    "console.log('x')",
    'class A extends EventEmitter {}',
    'let a: Promise<void>',
    'async function f() {}',
    'const a = globalThis.process',
  ]
  for (const line of sources) {
    t.same(fired('stack/tcp/a.ts', `${HEAD}${line}\n`), ['ban:5'], line)
    t.same(fired('cluster/a.ts', `${HEAD}${line}\n`), ['ban:5'], `cluster: ${line}`)
    for (const path of [
      'stack/io/a.ts',
      'stack/socket/a.ts',
      'cluster/io/a.ts',
      'apps/a/main.ts',
    ]) {
      t.same(fired(path, `${HEAD}${line}\n`), [], `${path}: ${line}`)
    }
  }
  t.same(fired('stack/a.ts', `${HEAD}await f()\n`), ['ban:5'])
  t.same(fired('stack/a.ts', `${HEAD}seg.process = { console: 1 }\n`), [], 'names of members')
  t.end()
})

t.test('name: empty words are refused', (t) => {
  t.same(fired('test/socket-manager.ts', ''), ['name:1'])
  t.same(fired('test/utils.ts', ''), ['name:1'])
  t.same(fired('test/a.ts', 'class SocketManager {}\n'), ['name:1'])
  t.same(fired('test/a.ts', 'function testHelper() {}\n'), ['name:1'])
  t.same(fired('test/a.ts', 'class A {\n  processSegment() {}\n}\n'), ['name:2'])
  t.same(fired('test/a.ts', 'function doSend() {}\n'), ['name:1'])
  t.same(fired('test/a.ts', 'class Downloads {}\nfunction document() {}\n'), [])
  t.end()
})

t.test('length: of files and functions', (t) => {
  t.same(fired('scripts/a.ts', 'f()\n'.repeat(450)), [])
  t.same(fired('scripts/a.ts', 'f()\n'.repeat(451)), ['file-length:451'])
  t.same(fired('test/a.ts', 'f()\n'.repeat(700)), [])
  t.same(fired('test/a.ts', 'f()\n'.repeat(701)), ['file-length:701'])
  const ofLines = (count: number) => `function f() {\n${'  g()\n'.repeat(count - 2)}}\n`
  t.same(fired('scripts/a.ts', ofLines(70)), [])
  t.same(fired('scripts/a.ts', ofLines(71)), ['function-length?:1'])
  t.same(fired('scripts/a.ts', ofLines(90)), ['function-length?:1'])
  t.same(fired('scripts/a.ts', ofLines(91)), ['function-length:1'])
  t.end()
})

t.test('hot-path: nothing is allocated inside a function', (t) => {
  const bad = [
    'return { a: 1 }',
    'return [1]',
    'g(() => 1)',
    'g(function () {})',
    'g(...a)',
    `return \`\${a}\``,
    'const { ...b } = a',
    'const [b] = a',
    'return a.subarray(1)',
  ]
  for (const line of bad) {
    const body = `${HOT}function f(a) {\n  ${line}\n}\n`
    t.ok(fired('stack/wire/a.ts', body).includes('hot-path:7'), line)
    t.same(fired('stack/wire/a.ts', body.replace(HOT, HEAD)), [], `cold: ${line}`)
    const excused = `${HOT}function f(a) {\n  // allocates: once per connection.\n  ${line}\n}\n`
    t.same(fired('stack/wire/a.ts', excused), [], `excused: ${line}`)
    const sameLine = `${HOT}function f(a) {\n  ${line} // allocates: cold.\n}\n`
    t.same(fired('stack/wire/a.ts', sameLine), [], `excused on the line: ${line}`)
    const method = `${HOT}class A {\n  constructor(a) {\n    ${line}\n  }\n}\n`
    t.same(fired('stack/wire/a.ts', method), [], `constructor: ${line}`)
  }
  t.same(fired('stack/wire/a.ts', `${HOT}const a = [1]\nconst b = { c: [...a] }\n`), [], 'module')
  const fields = `${HOT}function f(a) {\n  const { b } = a\n  return b\n}\n`
  t.same(fired('stack/wire/a.ts', fields), [], 'taking fields out of an object is no allocation')
  const noReason = `${HOT}function f() {\n  // allocates:\n  return [1]\n}\n`
  t.same(fired('stack/wire/a.ts', noReason), ['hot-path:8'], 'an excuse needs a reason')
  t.end()
})

t.test('head-comment and unfinished work', (t) => {
  t.same(fired('stack/base/a.ts', 'export const a = 1\n'), ['head-comment:1'])
  t.same(fired('cluster/a.ts', '/** A. */\nexport const a = 1\n'), ['head-comment:1'])
  t.same(fired('stack/base/a.ts', `${HEAD}export const a = 1\n`), [])
  t.same(fired('stack/base/a.ts', `${HOT}export const a = 1\n`), [])
  t.same(fired('stack/base/a.ts', `${HEAD}/** A. */\nexport const a = 1\n`), [])
  t.same(fired('stack/base/a.ts', HEAD.replace('\n\n', "\nimport './b.js'\n")), [])
  t.same(fired('apps/echo/main.ts', 'f()\n'), [])
  const note = `// ${'TO'}DO: later\n`
  t.same(fired('test/a.ts', note), ['unfinished:1'])
  t.same(fired('stack/base/a.ts', `${HEAD}f()\n${note}`), ['unfinished:6'])
  t.end()
})

t.test('tcb-writer: only the folds write the Tcb', (t) => {
  const tcb: [string, string][] = [['stack/tcp/tcb.ts', TCB]]
  const writes = [
    'tcb.sndNxt = 1',
    'this.tcb.sndNxt += 1',
    'this.#tcb.state++',
    'connection.tcb.state = 2',
    'function f(c: Tcb) { c.sndNxt = 1 }',
    'const c = this.tcb; c.sndNxt = 1',
  ]
  for (const line of writes) {
    const text = `${HEAD}${line}\n`
    t.same(fired('stack/tcp/sender.ts', text, tcb), ['tcb-writer:5'], line)
    t.same(fired('stack/tcp/segment-arrives.ts', text, tcb), [], `the fold: ${line}`)
    t.same(fired('test/a.test.ts', text, tcb), [], `a test: ${line}`)
  }
  const reads = `${HEAD}const a = tcb.sndNxt === 1\nthis.state = 1\ntcb.other = 2\n`
  t.same(fired('stack/tcp/sender.ts', reads, tcb), [])
  t.end()
})

t.test('format: one line that an editor can jump to', (t) => {
  const [first] = check(new Map([['stack/tcp/a.ts', `${HEAD}const a = Date.now()\n`]]))
  t.ok(first)
  t.match(format(first!), /^stack\/tcp\/a\.ts:5: ban: Date belongs to io\//)
  t.end()
})
