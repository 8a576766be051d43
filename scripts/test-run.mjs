#!/usr/bin/env node
/**
 * Runs the compiled tests, which speak TAP, and reports them compactly: one line per file, failures in full, what was
 * skipped and why, and a last line `N passed, N failed`. Counts are assertions. A file that ran no test, and a run
 * without any test, count as failures: a green run must mean that something was tested.
 *
 * Arguments: files, folders or parts of names choose tests (`test/unit`, `test/law/seq.test.ts`, `sack`); `--jobs=N`
 * runs so many files at a time, `--timeout=S` gives each so many seconds unless it says otherwise itself.
 */
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runFiles, signalAll } from './test-pool.mjs'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const require = createRequire(fs.realpathSync(join(ROOT, 'node_modules', 'tap', 'package.json')))
const { Parser } = require('tap-parser')

/** Labs wait for much of their time: one file more than there are processors keeps all of them busy. */
const JOBS = Math.min(availableParallelism() + 1, 6)
/** A machine that is busy with other things takes its time. */
const TIMEOUT_S = 300

/** Comments that tap writes itself, of no use to who reads a failure. */
const TAPS_OWN_COMMENT = /^\s*# (Subtest|time=|\{|filter|no tests)/

/** Output of a file that is no TAP, and its comments, kept to be shown when the file fails: the last lines only. */
const MAX_EXTRA_LINES = 200

const total = { passed: 0, failed: 0, todo: 0, skips: [], failures: [] }

/** All compiled tests, as paths relative to the root. */
function allTests() {
  const found = []
  const walk = (folder) => {
    if (!fs.existsSync(folder)) return
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) walk(path)
      else if (entry.name.endsWith('.test.js')) found.push(relative(ROOT, path))
    }
  }
  walk(join(ROOT, 'build', 'test'))
  return found.sort()
}

/** The tests that `patterns` choose. Throws when one of them chooses none: a slip in a name must not pass. */
function choose(patterns) {
  const tests = allTests()
  if (patterns.length === 0) return tests
  const chosen = new Set()
  for (const pattern of patterns) {
    const wanted = pattern
      .replace(/^\.\//, '')
      .replace(/^build\//, '')
      .replace(/\.(ts|js)$/, '')
      .replace(/\/$/, '')
    const matching = tests.filter((test) => test.slice('build/'.length).includes(wanted))
    if (matching.length === 0) throw new Error(`no test file matches ${pattern}`)
    for (const test of matching) chosen.add(test)
  }
  return [...chosen].sort()
}

/** What one test file brought. */
function newFile(name) {
  return { name, passed: 0, failed: 0, skipped: 0, extra: [], failures: [] }
}

/**
 * Counts the leaves of one level of TAP. The point that closes a subtest repeats what the subtest said; it counts
 * only when it fails and nothing within it did: a timeout, a wrong exit code, a plan that was not kept.
 */
function follow(parser, file, path) {
  let closing = false
  let failedBefore = 0
  parser.on('child', (subtest) => {
    closing = true
    failedBefore = file.failed
    follow(subtest, file, [...path, subtest.name])
  })
  parser.on('assert', (result) => {
    const closes = closing
    closing = false
    if (closes && (result.ok || file.failed > failedBefore)) return
    count(result, file, path)
  })
  parser.on('extra', (line) => keepExtra(file, line))
  // Those of a scene that failed say what led to it.
  parser.on('comment', (line) => {
    if (!TAPS_OWN_COMMENT.test(line)) keepExtra(file, line)
  })
}

function count(result, file, path) {
  const name = [...path, result.name].join(' > ')
  if (result.skip) {
    file.skipped++
    total.skips.push({ file: file.name, name, reason: reasonOf(result.skip) })
  } else if (result.todo) {
    total.todo++
    total.skips.push({ file: file.name, name, reason: `todo: ${reasonOf(result.todo)}` })
  } else if (result.ok) file.passed++
  else {
    file.failed++
    file.failures.push({ name, fullname: result.fullname, diag: result.diag })
  }
}

function reasonOf(directive) {
  return directive === true ? 'no reason given' : directive
}

function keepExtra(file, line) {
  if (line.trim() === '') return
  file.extra.push(line)
  if (file.extra.length > MAX_EXTRA_LINES) file.extra.shift()
}

/**
 * Closes `file`, whose process ended as `how` says. It failed, whatever its assertions say, when the process did not
 * end well, when it was ended for its time-out, or when it broke its own plan.
 */
function endFile(file, { results, code, signal, error, expired, seconds }) {
  const empty = file.passed + file.failed + file.skipped === 0
  const skipped = results.plan.skipAll ? results.plan.skipReason || 'no tests found' : undefined
  const fault = faultOf({ results, code, signal, error, expired })
  if (fault !== undefined && file.failed === 0) {
    file.failed++
    file.failures.push({ name: `the file itself: ${fault}` })
  } else if (fault === undefined && empty && (skipped ?? 'no tests found') === 'no tests found') {
    file.failed++
    file.failures.push({ name: 'the file ran no test' })
  } else if (fault === undefined && empty) {
    file.skipped++
    total.skips.push({ file: file.name, name: 'the whole file', reason: skipped })
  }
  total.passed += file.passed
  total.failed += file.failed
  printFile(file, seconds)
  for (const failure of file.failures) {
    total.failures.push({ ...failure, file: file.name, extra: file.extra })
  }
}

/** What is wrong with a file beside its assertions; undefined when nothing is. */
function faultOf({ results, code, signal, error, expired }) {
  if (error !== undefined) return error.message
  if (expired) return 'it took too long and was ended'
  if (results.bailout) return `it bailed out: ${reasonOf(results.bailout)}`
  if (signal !== null) return `it was ended by ${signal}`
  if (code !== 0) return `it ended with ${code}`
  if (!results.ok)
    return results.failures.map((failure) => failure.tapError ?? failure.name).join('; ')
  return undefined
}

function sourceOf(compiled) {
  return compiled.replace(/^(\.\/)?build\//, '').replace(/\.js$/, '.ts')
}

function printFile(file, seconds) {
  const mark = file.failed > 0 ? 'FAIL' : file.passed > 0 ? 'ok  ' : 'skip'
  const skipped = file.skipped > 0 ? `, ${file.skipped} skipped` : ''
  const failed = file.failed > 0 ? `, ${file.failed} failed` : ''
  const time = `${seconds.toFixed(2)} s`
  console.log(`${mark} ${file.name}  ${file.passed} passed${failed}${skipped}  ${time}`)
}

function printFailures() {
  const shown = new Set()
  for (const failure of total.failures) {
    console.log(`\nFAIL ${failure.file}\n  ${failure.name}`)
    if (failure.diag) console.log(indent(describe(failure.diag)))
    if (shown.has(failure.file) || failure.extra.length === 0) continue
    shown.add(failure.file)
    console.log(indent(`output of the file:\n${failure.extra.join('').trimEnd()}`))
  }
}

function describe(diag) {
  const lines = []
  for (const [key, value] of Object.entries(diag)) {
    if (key === 'source' || key === 'args' || key === 'jobId' || key === 'stdio') continue
    if (key === 'at' && value?.fileName) lines.push(`at: ${value.fileName}:${value.lineNumber}`)
    else if (typeof value === 'string' && value.includes('\n'))
      lines.push(`${key}:\n${indent(value)}`)
    else lines.push(`${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
  }
  return lines.join('\n')
}

function indent(text) {
  return text.trimEnd().replace(/^/gm, '    ')
}

function printSkips() {
  if (total.skips.length === 0) return
  console.log('\nSkipped:')
  for (const skip of total.skips) console.log(`  ${skip.file}: ${skip.name}: ${skip.reason}`)
}

function finish() {
  if (total.passed + total.failed === 0) {
    total.failed++
    total.failures.push({ file: 'the run', name: 'no test was executed', extra: [] })
  }
  printFailures()
  printSkips()
  const skipped = total.skips.length > 0 ? `, ${total.skips.length} skipped` : ''
  console.log(`\n${total.passed} passed, ${total.failed} failed${skipped}`)
  process.exitCode = total.failed > 0 ? 1 : 0
}

/** Reads the arguments. Throws when one says nothing that is known here. */
function readArguments(args) {
  const numbers = { '--jobs': JOBS, '--timeout': TIMEOUT_S }
  const patterns = []
  for (const argument of args) {
    const [, name, value] = /^(--\w+)=([1-9]\d*)$/.exec(argument) ?? []
    if (name in numbers) numbers[name] = Number(value)
    else if (argument.startsWith('-')) throw new Error(`no option is ${argument}`)
    else patterns.push(argument)
  }
  return { jobs: numbers['--jobs'], timeoutMs: 1000 * numbers['--timeout'], patterns }
}

async function run() {
  const { jobs, timeoutMs, patterns } = readArguments(process.argv.slice(2))
  const files = new Map()
  const begin = (test) => {
    const file = newFile(sourceOf(test))
    files.set(test, file)
    const parser = new Parser()
    follow(parser, file, [])
    return parser
  }
  let ending
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      ending = signal
      signalAll(signal)
    })
  }
  const stopped = () => ending !== undefined
  const end = (test, how) => endFile(files.get(test), how)
  await runFiles(choose(patterns), { cwd: ROOT, jobs, timeoutMs, begin, end, stopped })
  if (stopped()) throw new Error(`ended by ${ending}`)
}

try {
  await run()
} catch (error) {
  total.failures.push({ file: 'the run', name: error.message, extra: [] })
  total.failed++
}
finish()
