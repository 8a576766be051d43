/**
 * A lock between processes that want to change the same folder: a directory, because mkdir is atomic everywhere, with
 * a note of who holds it. The lock of a process that died is found out and removed; nobody has to do it by hand.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'

/** Waits for the lock, telling `say` so once. Returns the function that gives it back. */
export async function takeLock(lock, say) {
  let told = false
  for (;;) {
    if (tryLock(lock)) return () => fs.rmSync(lock, { recursive: true, force: true })
    const holder = readText(join(lock, 'holder')).trim()
    if (isStale(lock, holder)) breakLock(lock, holder)
    else {
      if (!told)
        say(`waiting for another one to finish (process ${holder.split(' ')[0] || 'unknown'})`)
      told = true
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
}

function tryLock(lock) {
  try {
    fs.mkdirSync(lock)
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  }
  fs.writeFileSync(join(lock, 'holder'), `${identity(process.pid)}\n`)
  return true
}

/** A process as pid, start time and pid namespace, so that a pid that was used again is not taken for the holder. */
function identity(pid) {
  const stat = readText(`/proc/${pid}/stat`)
  const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0'
  let namespace = 'unknown'
  try {
    namespace = fs.readlinkSync('/proc/self/ns/pid')
  } catch {
    // Without /proc the pid alone has to do.
  }
  return `${pid} ${started} ${namespace}`
}

function isStale(lock, holder) {
  const ageMs = Date.now() - (fs.statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
  if (holder === '') return ageMs > 5_000
  const [pid = '', , namespace] = holder.split(' ')
  const mine = identity(process.pid).split(' ')[2]
  if (namespace !== mine) return ageMs > 900_000
  return !fs.existsSync(`/proc/${pid}`) || identity(pid) !== holder
}

/** Removes the lock of a dead holder; a second lock keeps two waiters from removing each other's new one. */
function breakLock(lock, holder) {
  const guard = `${lock}.break`
  try {
    fs.mkdirSync(guard)
  } catch {
    const ageMs =
      Date.now() - (fs.statSync(guard, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
    if (ageMs > 5_000) fs.rmSync(guard, { recursive: true, force: true })
    return
  }
  const now = readText(join(lock, 'holder')).trim()
  if (now === holder) fs.rmSync(lock, { recursive: true, force: true })
  fs.rmSync(guard, { recursive: true, force: true })
}

function readText(path) {
  try {
    return fs.readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
