#!/usr/bin/env node
/**
 * Makes a clone ready to run: system commands, npm packages, the native addon, the compiled JavaScript. It uses
 * nothing but Node and npm, so that `npm run demo` and `npm test` work in a fresh clone, and it does nothing, in a few
 * milliseconds, when nothing has changed. Progress goes to stderr.
 *
 * Invariant: build/.bootstrap.json describes the sources that build/ was made from. It is removed before the first
 * change and written after the last one, so that an interrupted run is never taken for a finished one.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { takeLock } from './bootstrap-lock.mjs'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const BUILD = join(ROOT, 'build')
const STAMP = join(BUILD, '.bootstrap.json')
const NPM_STAMP = join(ROOT, 'node_modules', '.understudy-lock')
const TAP_STAMP = join(ROOT, 'node_modules', '.understudy-tap')
const LOCK = join(BUILD, '.bootstrap.lock')
const SOURCE_FOLDERS = ['stack', 'cluster', 'apps', 'test', 'scripts']
const SOURCE_FILES = ['tsconfig.json', 'package.json', 'package-lock.json']

/** What the project calls, and the Debian package that brings it. `needed`: nothing works without it. */
const COMMANDS = [
  { name: 'cc', package: 'gcc', needed: true },
  { name: 'ip', package: 'iproute2', needed: false },
  { name: 'bridge', package: 'iproute2', needed: false },
  { name: 'curl', package: 'curl', needed: false },
  { name: 'nft', package: 'nftables', needed: false },
  { name: 'unshare', package: 'util-linux', needed: false },
  { name: 'nsenter', package: 'util-linux', needed: false },
  // The live page is tested in a real browser.
  { name: 'chromium', package: 'chromium', needed: false, forTests: true },
]

/** An end of the bootstrap that the user can do something about: the message says what. */
export class BootstrapError extends Error {}

/**
 * Makes the clone ready. Returns whether anything had to be done. With `tests`, also prepares the test runner.
 * Throws BootstrapError with what to do when it cannot go on.
 */
export async function bootstrap({ tests = false } = {}) {
  checkPlatform()
  const missing = missingCommands(tests)
  if (isFresh(missing, tests)) return false
  makeBuildFolder()
  const release = await takeLock(LOCK, say)
  try {
    if (isFresh(missing, tests)) return false
    await prepare(missing, tests)
    return true
  } finally {
    release()
  }
}

async function prepare(missing, tests) {
  const before = readJson(STAMP)
  fs.rmSync(STAMP, { force: true })
  const attempted = mayInstall(missing, before)
  const lacking = attempted ? installCommands(missing, tests) : missing
  requireCompilerOrAddon(lacking)
  installPackages()
  const sources = fingerprint()
  await buildAddon(lacking)
  compile(sources.files)
  if (tests) prepareTap()
  remindOfLab(lacking)
  const aptFailed = attempted ? { for: names(lacking), at: Date.now() } : before?.aptFailed
  const stamp = { node: process.version, hash: sources.hash, aptFailed }
  fs.writeFileSync(STAMP, `${JSON.stringify(stamp)}\n`)
}

// What can be seen at once.

function checkPlatform() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const fits = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22
  if (!fits) {
    throw new BootstrapError(
      `Node ${process.versions.node} is too old: understudy needs Node 20.19 or newer of the 20 line, or 22.12 ` +
        'or newer. Install one from https://nodejs.org/ and try again.',
    )
  }
  if (process.platform !== 'linux') {
    throw new BootstrapError(
      `understudy runs on Linux only (this is ${process.platform}): use a Linux machine, virtual machine or container.`,
    )
  }
}

function isFresh(missing, tests) {
  const stamp = readJson(STAMP)
  if (stamp === undefined || stamp.node !== process.version) return false
  if (tests && !fs.existsSync(TAP_STAMP)) return false
  if (!fs.existsSync(NPM_STAMP) || !fs.existsSync(join(BUILD, '.tsbuildinfo'))) return false
  if (mayInstall(missing, stamp)) return false
  return stamp.hash === fingerprint().hash
}

/** The names, sizes and times of all sources, hashed, and the list of the sources. */
function fingerprint() {
  const files = []
  for (const folder of SOURCE_FOLDERS) listFiles(join(ROOT, folder), files)
  for (const file of SOURCE_FILES) files.push(join(ROOT, file))
  files.sort()
  const hash = createHash('sha256')
  for (const file of files) {
    const stat = fs.statSync(file, { throwIfNoEntry: false })
    hash.update(`${relative(ROOT, file)} ${stat?.size} ${stat?.mtimeMs}\n`)
  }
  return { hash: hash.digest('hex'), files }
}

function listFiles(folder, into) {
  if (!fs.existsSync(folder)) return
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) listFiles(path, into)
    else if (/\.(ts|mjs|c|h|html|css|js)$/.test(entry.name)) into.push(path)
  }
}

// System commands.

function missingCommands(tests) {
  const path = `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`.split(':')
  const found = (name) => path.some((folder) => folder !== '' && isExecutable(join(folder, name)))
  const missing = COMMANDS.filter((command) => {
    if (command.name === 'cc' && process.env.CC) return false
    if (command.forTests && !tests) return false
    return !found(command.name)
  })
  const headers = ['/usr/include/stdio.h', '/usr/local/include/stdio.h']
  if (!missing.some((command) => command.name === 'cc') && !headers.some((h) => fs.existsSync(h))) {
    missing.push({ name: 'stdio.h', package: 'libc6-dev', needed: true })
  }
  return missing
}

function isExecutable(path) {
  try {
    fs.accessSync(path, fs.constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Root who can install packages; not the root of a namespace to which a single user is mapped. */
function isRealRoot() {
  if (process.getuid?.() !== 0) return false
  const map = readText('/proc/self/uid_map').trim().split(/\s+/)
  return map.length !== 3 || Number(map[2]) > 1
}

/** Whether to try apt-get: not again within the hour for what it could not bring, as on a machine without a network. */
function mayInstall(missing, stamp) {
  if (missing.length === 0 || !isRealRoot() || !isExecutable('/usr/bin/apt-get')) return false
  const failed = stamp?.aptFailed
  return failed?.for !== names(missing) || Date.now() - failed.at > 3_600_000
}

function packagesFor(missing) {
  const packages = new Set(missing.map((command) => command.package))
  if (packages.has('gcc')) packages.add('libc6-dev')
  return [...packages].join(' ')
}

/** Installs the missing commands with apt-get where there is one. Returns those that are missing still. */
function installCommands(missing, tests) {
  const packages = packagesFor(missing)
  say(`installing Debian packages: ${packages}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const options = ['-qq', '-y', '-o', 'DPkg::Lock::Timeout=120', '--no-install-recommends']
  run('apt-get', ['-qq', 'update'], { env, quiet: true })
  run('apt-get', [...options, 'install', ...packages.split(' ')], { env, quiet: true })
  return missingCommands(tests)
}

function requireCompilerOrAddon(missing) {
  const needed = missing.filter((command) => command.needed)
  if (needed.length === 0 || builtAddons().length > 0) return
  throw new BootstrapError(
    `the native addon needs a C compiler, and ${names(needed)} is missing. ${howToInstall(needed)}`,
  )
}

function remindOfLab(missing) {
  const optional = missing.filter((command) => !command.needed && !command.forTests)
  if (optional.length === 0) return
  say(
    `no ${names(optional)}: the lab on real TAP devices may not work, and the demo falls back to the in-memory hub. ` +
      howToInstall(optional),
  )
}

function howToInstall(missing) {
  const packages = packagesFor(missing)
  if (!isExecutable('/usr/bin/apt-get')) {
    return `Install it with the package manager of your system (the Debian packages are: ${packages}).`
  }
  const sudo = isRealRoot() ? '' : 'sudo '
  return `Type: ${sudo}apt-get update && ${sudo}apt-get install -y ${packages}`
}

function names(commands) {
  return commands.map((command) => command.name).join(', ')
}

// npm packages.

function installPackages() {
  const lockText = fs.readFileSync(join(ROOT, 'package-lock.json'))
  const wanted = createHash('sha256').update(lockText).digest('hex')
  if (readText(NPM_STAMP).trim() === wanted) return
  if (!treeAgrees()) {
    say('installing npm packages (npm ci)')
    // The install scripts are not run: every package with a binary brings it prebuilt, in a package per platform.
    const args = [
      'ci',
      '--include=dev',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
    ]
    const [command, prefix] = npmCommand()
    if (!run(command, [...prefix, ...args])) {
      throw new BootstrapError(
        'npm ci failed (see above). Check the connection to the npm registry, then try again.',
      )
    }
    checkLmdb()
  }
  fs.writeFileSync(NPM_STAMP, `${wanted}\n`)
}

function npmCommand() {
  const path = process.env.npm_execpath ?? ''
  return basename(path) === 'npm-cli.js' ? [process.execPath, [path]] : ['npm', []]
}

/** Whether what npm noted in node_modules is what package-lock.json asks for: somebody ran `npm ci` by hand. */
function treeAgrees() {
  const lock = readJson(join(ROOT, 'package-lock.json'))
  const tree = readJson(join(ROOT, 'node_modules', '.package-lock.json'))
  if (lock === undefined || tree === undefined) return false
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (path === '') continue
    const there = tree.packages[path]
    if (there === undefined ? !entry.optional : there.version !== entry.version) return false
    if (there !== undefined && !fs.existsSync(join(ROOT, path))) return false
  }
  return true
}

function checkLmdb() {
  const script =
    "import('lmdb').then(() => process.exit(0), (e) => { console.error(e); process.exit(1) })"
  if (run(process.execPath, ['-e', script])) return
  throw new BootstrapError(
    'lmdb has no prebuilt binary for this platform. Build it: npm rebuild lmdb msgpackr-extract --foreground-scripts',
  )
}

/** Lets tap make its test class from the plugins of .taprc once, so that two test runs never make it together. */
function prepareTap() {
  if (fs.existsSync(TAP_STAMP)) return
  say('preparing the test runner')
  if (
    !run(process.execPath, [join(ROOT, 'node_modules', '.bin', 'tap'), 'build'], { quiet: true })
  ) {
    throw new BootstrapError(
      'tap could not be prepared (see above). Remove node_modules and try again.',
    )
  }
  fs.writeFileSync(TAP_STAMP, '')
}

// The addon and the JavaScript.

async function buildAddon(missing) {
  const script = join(ROOT, 'scripts', 'build-native.mjs')
  if (!fs.existsSync(script) || missing.some((command) => command.needed)) return
  const { buildNative } = await import(pathToFileURL(script).href)
  try {
    const { built } = await buildNative({ quiet: true })
    if (built) say('built the native addon')
  } catch (error) {
    throw new BootstrapError(`the native addon could not be built: ${error.message}`)
  }
}

function builtAddons() {
  const files = []
  const walk = (folder) => {
    if (!fs.existsSync(folder)) return
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) walk(join(folder, entry.name))
      else if (entry.name.endsWith('.node')) files.push(join(folder, entry.name))
    }
  }
  walk(BUILD)
  walk(join(ROOT, 'stack', 'native'))
  return files
}

function compile(sources) {
  say('compiling')
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const ok = run(process.execPath, [tsc, '-p', join(ROOT, 'tsconfig.json')])
  prune(sources)
  if (!ok) throw new BootstrapError('the TypeScript compiler found errors (see above).')
}

/** Removes outputs whose source is gone: a test that was deleted must not run any more. */
function prune(sources) {
  const known = new Set(sources.map((file) => relative(ROOT, file).replace(/\.ts$/, '')))
  const outputs = []
  for (const folder of SOURCE_FOLDERS) listOutputs(join(BUILD, folder), outputs)
  for (const output of outputs) {
    const source = relative(BUILD, output).replace(/(\.d\.ts|\.js\.map|\.js)$/, '')
    if (!known.has(source)) fs.rmSync(output, { force: true })
  }
}

function listOutputs(folder, into) {
  if (!fs.existsSync(folder)) return
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) listOutputs(join(folder, entry.name), into)
    else if (/(\.d\.ts|\.js\.map|\.js)$/.test(entry.name)) into.push(join(folder, entry.name))
  }
}

function makeBuildFolder() {
  try {
    fs.mkdirSync(BUILD, { recursive: true })
    fs.accessSync(BUILD, fs.constants.W_OK)
  } catch (error) {
    throw new BootstrapError(
      `cannot write to ${BUILD} (${error.code}): work in a clone that you own, or remove build/ as its owner.`,
    )
  }
}

// Small things.

/** Runs a command with its output on stderr; `quiet` shows the output only when the command fails. */
function run(command, args, { env = process.env, quiet = false } = {}) {
  const stdio = quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 2, 2]
  const result = spawnSync(command, args, { cwd: ROOT, env, stdio, encoding: 'utf8' })
  if (result.status === 0) return true
  if (quiet) process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`)
  if (result.error) say(`${command}: ${result.error.message}`)
  if (result.signal) throw new BootstrapError(`${command} was ended by ${result.signal}.`)
  return false
}

function readText(path) {
  try {
    return fs.readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function readJson(path) {
  try {
    return JSON.parse(fs.readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

function say(line) {
  process.stderr.write(`bootstrap: ${line}\n`)
}

/** Runs the bootstrap as a command does: an error is printed in one line and ends the process with 1. */
export async function bootstrapOrExit(options) {
  try {
    await bootstrap(options)
  } catch (error) {
    if (!(error instanceof BootstrapError)) throw error
    say(error.message)
    process.exit(1)
  }
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await bootstrapOrExit({ tests: process.argv.includes('--tests') })
}
