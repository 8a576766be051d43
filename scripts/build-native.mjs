/**
 * Compiles the native addon: stack/native/*.c -> build/native/understudy.node, with the C compiler alone (no python, no
 * make, no node-gyp). Depends on nothing but Node, so that it runs before `npm ci`. Quick when there is nothing to do.
 *
 *   node scripts/build-native.mjs      or      import { buildNative } from './build-native.mjs'
 */
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const SOURCES = join(ROOT, 'stack', 'native')
const OUTPUT = join(ROOT, 'build', 'native', 'understudy.node')
const STAMP = `${OUTPUT}.stamp`

/** A build that cannot go on; the message says what to install. */
export class NativeBuildError extends Error {
  name = 'NativeBuildError'
  code = 'ERR_NATIVE_BUILD'
}

/**
 * The folders with node_api.h and uv.h: beside the node binary, where every release of Node and Debian's libnode-dev put
 * them. The addon watches descriptors with libuv's uv_poll, whose structures must be those of this very Node, so headers
 * from elsewhere are not taken.
 */
function includeDirs() {
  const beside = join(dirname(realpathSync(process.execPath)), '..', 'include', 'node')
  const dirs = [beside, '/usr/include/node', '/usr/include/nodejs/src'].filter((dir) =>
    existsSync(join(dir, 'node_api.h')),
  )
  const own = dirs.find((dir) => sameVersion(dir))
  if (own === undefined) {
    throw new NativeBuildError(
      `no headers of Node ${process.version} found (looked for ${beside}/node_api.h)\n` +
        "  with Debian's or Ubuntu's nodejs:  apt-get install libnode-dev\n" +
        '  else use a release from https://nodejs.org/dist, which carries its headers',
    )
  }
  if (existsSync(join(own, 'uv.h'))) return [own]
  if (existsSync('/usr/include/uv.h')) return [own, '/usr/include']
  throw new NativeBuildError(
    `no uv.h in ${own}\n  with Debian's or Ubuntu's nodejs:  apt-get install libnode-dev libuv1-dev`,
  )
}

function sameVersion(dir) {
  try {
    const text = readFileSync(join(dir, 'node_version.h'), 'utf8')
    const part = (name) => new RegExp(`#define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1]
    return `v${part('MAJOR')}.${part('MINOR')}` === process.version.split('.').slice(0, 2).join('.')
  } catch {
    return false
  }
}

/** What the output depends on besides the sources. */
function stampOf(dirs, compiler) {
  return JSON.stringify({ node: process.version, arch: process.arch, dirs, compiler, FLAGS })
}

function upToDate(stamp, files) {
  if (!existsSync(OUTPUT) || !existsSync(STAMP) || readFileSync(STAMP, 'utf8') !== stamp)
    return false
  const built = statSync(OUTPUT).mtimeMs
  return files.every((file) => statSync(file).mtimeMs <= built)
}

const FLAGS = [
  '-O2',
  '-std=gnu11',
  '-Wall',
  '-Wextra',
  '-shared',
  '-fPIC',
  '-fvisibility=hidden',
  '-pthread',
  '-D_GNU_SOURCE',
]

function compile(compiler, dirs, files, output) {
  try {
    run(compiler, ['-Werror', ...FLAGS], dirs, files, output)
  } catch (error) {
    // A newer compiler knows new warnings: they are shown, but must not stop a newcomer.
    if (!String(error.message).includes('-Werror')) throw error
    console.error(error.message)
    run(compiler, FLAGS, dirs, files, output)
  }
}

function run(compiler, flags, dirs, files, output) {
  const includes = dirs.flatMap((dir) => ['-isystem', dir])
  try {
    const sources = files.filter((file) => file.endsWith('.c'))
    execFileSync(compiler, [...flags, ...includes, '-o', output, ...sources, '-lm'], {
      stdio: 'pipe',
    })
  } catch (error) {
    if (error.code === 'ENOENT') {
      throw new NativeBuildError(
        `no C compiler (${compiler}) found\n  Debian, Ubuntu:  apt-get install gcc libc6-dev\n  else set CC`,
      )
    }
    throw new NativeBuildError(
      `${compiler} failed:\n${error.stderr}\n  when a system header is missing:  apt-get install libc6-dev linux-libc-dev`,
    )
  }
}

/**
 * Builds the addon unless it is up to date. Returns its path and whether it was built.
 * Throws NativeBuildError with what to install.
 */
export function buildNative({ quiet = false } = {}) {
  const compiler = process.env.CC || 'cc'
  const files = readdirSync(SOURCES)
    .filter((name) => /\.[ch]$/.test(name))
    .map((name) => join(SOURCES, name))
    .sort()
  const dirs = includeDirs()
  const stamp = stampOf(dirs, compiler)
  if (upToDate(stamp, files)) return { path: OUTPUT, built: false }
  mkdirSync(dirname(OUTPUT), { recursive: true })
  // A process may have the old one mapped: the new one replaces its name, never its content.
  const fresh = `${OUTPUT}.${process.pid}`
  try {
    compile(compiler, dirs, files, fresh)
    renameSync(fresh, OUTPUT)
  } finally {
    rmSync(fresh, { force: true })
  }
  writeFileSync(STAMP, stamp)
  if (!quiet) console.log(`built ${OUTPUT}`)
  return { path: OUTPUT, built: true }
}

if (
  process.argv[1] !== undefined &&
  realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)
) {
  try {
    buildNative()
  } catch (error) {
    if (!(error instanceof NativeBuildError)) throw error
    console.error(`build-native: ${error.message}`)
    process.exitCode = 1
  }
}
