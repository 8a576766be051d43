/**
 * Runs compiled test files as processes of Node of their own, some at a time, and hands what each says to a parser of TAP. tap's own
 * runner is not asked: it takes a second of processor time for each file, most of it for loaders that no test here needs.
 *
 * Files whose nodes live by the real clock (labs, TAPs, sockets) hear each other's silence: no more than two of them run at once. Those
 * that only compute fill what is left, with less right to a processor.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { setPriority } from 'node:os'

/** Folders whose tests wait for the real clock, longest first; all others only compute. */
const CLOCK_FOLDERS = ['test/lab/', 'test/tap/', 'test/cluster/']
const MOST_CLOCK_FILES = 2
/** How much a file that only computes gives way; see nice(1). */
const NICE = 5
/** Files that take longest go first, or the run would end with one of them alone: the slowest, then the rest of their folders. */
const SLOWEST = [
  'test/lab/app-demos',
  'test/lab/takeover',
  'test/lab/sql',
  'test/lab/nfs',
  'test/lab/kv',
  'test/lab/demo',
  'test/sim/',
  'test/perf/',
  'test/law/',
  'test/lab/',
  'test/tap/',
  'test/cluster/',
  'test/packet/',
]
/** How much later than a file's own timer the runner's expires: the former can tell more, and starts when the file has. */
const GRACE_MS = 5000
/** A busy machine may take so long until a file has loaded tap, and its own timer runs. */
const START_MS = 60_000
/** A file that is told to end gets so long to say what it waits for, and once more behind a signal. */
const LAST_WORDS_MS = 2000

/** The processes that run now. */
const running = new Set()

function rank(file) {
  const name = file.replace(/^build\//, '')
  const at = SLOWEST.findIndex((start) => name.startsWith(start))
  return at < 0 ? SLOWEST.length : at
}

/** `files` in the order in which they are begun. */
export function inOrder(files) {
  return [...files].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
}

/** Whether nodes or clients of `file` live by the real clock. */
export function livesByClock(file) {
  return CLOCK_FOLDERS.some((folder) => file.replace(/^build\//, '').startsWith(folder))
}

/**
 * Runs `files`, `jobs` at a time. `begin(file)` returns the parser that is given the file's output; `end(file, how)` is called when its
 * process is gone, with `{ results, code, signal, error, expired, seconds }`. Resolves when all have ended, or, when `stopped()`, those
 * that had begun.
 */
export async function runFiles(files, { cwd, jobs, timeoutMs, begin, end, stopped }) {
  const waiting = inOrder(files)
  let clockFiles = 0
  const take = () => {
    const at = waiting.findIndex((file) => !livesByClock(file) || clockFiles < MOST_CLOCK_FILES)
    return at < 0 ? undefined : waiting.splice(at, 1)[0]
  }
  await new Promise((resolve) => {
    let active = 0
    const fill = () => {
      while (active < jobs && !stopped()) {
        const file = take()
        if (file === undefined) break
        const clock = livesByClock(file)
        active++
        if (clock) clockFiles++
        runFile(file, { cwd, timeoutMs, nice: clock ? 0 : NICE, parser: begin(file) }).then(
          (how) => {
            active--
            if (clock) clockFiles--
            end(file, how)
            fill()
          },
        )
      }
      if (active === 0) resolve()
    }
    fill()
  })
}

/** Passes `signal` on to the processes that run. */
export function signalAll(signal) {
  for (const child of running) child.kill(signal)
}

/** Resolves when the process is gone and all it has said is parsed. */
function runFile(file, { cwd, timeoutMs, nice, parser }) {
  const started = performance.now()
  const key = randomBytes(8).toString('hex')
  // What tap gives a child: a file then tells its time-out, and can be asked to end.
  const env = { ...process.env, TAP: '1', TAP_CHILD_ID: '1', TAP_CHILD_KEY: key }
  const child = spawn(process.execPath, ['--enable-source-maps', file], {
    cwd,
    env: { ...env, TAP_TIMEOUT: String(timeoutMs / 1000) },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  running.add(child)
  if (nice > 0 && child.pid !== undefined) lower(child.pid, nice)
  const limit = limitOf(child, key, timeoutMs)
  const parsed = new Promise((resolve) => parser.once('complete', resolve))
  child.stdout.pipe(parser)
  return new Promise((resolve) => {
    let failure
    child.once('error', (error) => {
      failure = error
    })
    child.once('close', async (code, signal) => {
      running.delete(child)
      limit.clear()
      const seconds = (performance.now() - started) / 1000
      const results = await parsed
      resolve({ results, code, signal, error: failure, expired: limit.expired, seconds })
    })
  })
}

function lower(pid, nice) {
  try {
    setPriority(pid, nice)
  } catch {
    // It has ended already.
  }
}

/** Ends `child` when it takes longer than it said it would: by a message, which tap answers with what it waits for, then by signals. */
function limitOf(child, key, timeoutMs) {
  const limit = { expired: false, clear: () => clearTimeout(timer) }
  let timer
  const expire = () => {
    limit.expired = true
    if (child.connected) child.send({ tapAbort: 'timeout', key, child: '1' }, () => {})
    timer = setTimeout(() => {
      child.kill('SIGALRM')
      timer = setTimeout(() => child.kill('SIGKILL'), LAST_WORDS_MS)
    }, LAST_WORDS_MS)
  }
  const set = (ms) => {
    clearTimeout(timer)
    if (ms > 0) timer = setTimeout(expire, ms + GRACE_MS)
  }
  set(Math.max(timeoutMs, START_MS))
  child.on('message', (message) => {
    if (message?.key === key && message.child === '1' && !limit.expired) set(message.setTimeout)
  })
  return limit
}
