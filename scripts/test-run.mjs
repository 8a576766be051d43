#!/usr/bin/env node
/**
 * Runs the compiled tests with tap and reports them compactly: one line per file, failures in full, what was skipped
 * and why, and a last line `N passed, N failed`. Counts are assertions. A file that ran no test, and a run without
 * any test, count as failures: a green run must mean that something was tested.
 *
 * Arguments: files, folders or parts of names choose tests (`test/unit`, `test/law/seq.test.ts`, `sack`); options that
 * begin with `-` go to tap as they are.
 */
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const require = createRequire(fs.realpathSync(join(ROOT, 'node_modules', 'tap', 'package.json')))
const { Parser } = require('tap-parser')

/** Output of a file that is no TAP, kept to be shown when the file fails: the last lines only. */
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

/** Follows the whole run: its children are the files. */
function followRun(parser) {
  let file
  parser.on('child', (subtest) => {
    file = newFile(sourceOf(subtest.name))
    follow(subtest, file, [])
  })
  parser.on('assert', (result) => {
    const name = sourceOf(result.name)
    const ended = file?.name === name ? file : newFile(name)
    file = undefined
    endFile(ended, result)
  })
  parser.on('bailout', (reason) => {
    total.failures.push({ file: 'the run', name: `bailed out: ${reason}`, extra: [] })
    total.failed++
  })
}

function endFile(file, result) {
  const empty = file.passed + file.failed + file.skipped === 0
  if (result.ok && empty && (!result.skip || /no tests found/.test(reasonOf(result.skip)))) {
    file.failed++
    file.failures.push({ name: 'the file ran no test' })
  } else if (result.ok && empty) {
    file.skipped++
    total.skips.push({ file: file.name, name: 'the whole file', reason: reasonOf(result.skip) })
  }
  if (!result.ok && file.failed === 0) {
    file.failed++
    file.failures.push({ name: 'the file itself', diag: result.diag })
  }
  total.passed += file.passed
  total.failed += file.failed
  printFile(file, result.time)
  for (const failure of file.failures) {
    total.failures.push({ ...failure, file: file.name, extra: file.extra })
  }
}

function sourceOf(compiled) {
  return compiled.replace(/^(\.\/)?build\//, '').replace(/\.js$/, '.ts')
}

function printFile(file, timeMs) {
  const mark = file.failed > 0 ? 'FAIL' : file.passed > 0 ? 'ok  ' : 'skip'
  const skipped = file.skipped > 0 ? `, ${file.skipped} skipped` : ''
  const failed = file.failed > 0 ? `, ${file.failed} failed` : ''
  const seconds = timeMs === undefined || timeMs === null ? '' : `  ${(timeMs / 1000).toFixed(2)} s`
  console.log(`${mark} ${file.name}  ${file.passed} passed${failed}${skipped}${seconds}`)
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

function finish(tapEnd) {
  if (tapEnd !== 0 && total.failed === 0) {
    total.failed++
    const name = `tap ended with ${tapEnd} although no assertion failed`
    total.failures.push({ file: 'the run', name, extra: [] })
  } else if (total.passed + total.failed === 0) {
    total.failed++
    total.failures.push({ file: 'the run', name: 'no test was executed', extra: [] })
  }
  printFailures()
  printSkips()
  const skipped = total.skips.length > 0 ? `, ${total.skips.length} skipped` : ''
  console.log(`\n${total.passed} passed, ${total.failed} failed${skipped}`)
  process.exitCode = total.failed > 0 ? 1 : 0
}

function main() {
  const options = process.argv.slice(2).filter((argument) => argument.startsWith('-'))
  const patterns = process.argv.slice(2).filter((argument) => !argument.startsWith('-'))
  let tests = []
  try {
    tests = choose(patterns)
  } catch (error) {
    total.failures.push({ file: 'the run', name: error.message, extra: [] })
    total.failed++
  }
  if (tests.length === 0) return finish(0)
  const tap = join(ROOT, 'node_modules', '.bin', 'tap')
  const args = [tap, 'run', '--reporter=tap', '--no-color', ...options, ...tests]
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] })
  const parser = new Parser()
  followRun(parser)
  child.stdout.pipe(parser)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('close', (code, signal) => {
    if (parser.ended) finish(signal ?? code)
    else parser.on('complete', () => finish(signal ?? code))
  })
  parser.on('complete', () => {
    parser.ended = true
  })
}

main()
